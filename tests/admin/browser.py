"""A browser without scripts: pages through the guard, forms, cookies, redirects."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote, urlencode, urlsplit

from starlette.types import Message

from router.admin.guard import Guard
from tests.admin.served import OPERATOR, Served

HOST = "localhost:8080"
INLINE = frozenset({"a", "code", "span", "strong", "time"})
VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


class Answer(HTMLParser):
    """One answer, as HTML; whatever is not well formed is an error."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.status = status
        self.headers = headers
        self.content = content
        self.elements: list[tuple[str, Mapping[str, str]]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        if "html" in headers.get("content-type", ""):
            self.feed(content.decode())
            assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Noted."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._words.append("" if tag in INLINE else " ")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Has to close the latest."""
        assert self._open.pop() == tag, f"{tag} closed out of turn"
        self._words.append("" if tag in INLINE else " ")

    def handle_data(self, data: str) -> None:
        """Part of the text."""
        self._words.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, with one blank between words."""
        return re.sub(r"\s+", " ", "".join(self._words)).strip()

    def all(self, tag: str) -> Sequence[Mapping[str, str]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> Sequence[str]:
        """Where its links lead, as far as they lead away from it."""
        return [each["href"] for each in self.all("a") if not each["href"].startswith("#")]


class Browser:
    """Somebody who looks at the pages over TCP."""

    def __init__(self, api: Served, *, tokens: bool = True, show_patient: bool = False) -> None:
        settings = replace(api.configuration.http, tokens=api.tokens if tokens else (), show_patient=show_patient)
        api.configuration = replace(api.configuration, http=settings)
        self.api = api
        self.guard = Guard(api.app, api.configuration.http, sessions=api.sessions)
        self.cookies: dict[str, str] = {}

    async def log_in(self, token: str = OPERATOR, then: str = "/") -> Answer:
        """With the form."""
        return await self.post("/login", {"token": token, "then": then})

    async def get(self, url: str, **headers: str) -> Answer:
        """A page as it is answered; no redirect is followed."""
        return await self._ask("GET", url, b"", headers)

    async def see(self, url: str) -> Answer:
        """A page that is there."""
        answer = await self.get(url)
        assert answer.status == 200, f"{url}: {answer.status} {answer.text}"
        return answer

    async def post(self, url: str, fields: Mapping[str, object], **headers: str) -> Answer:
        """A form as it is answered."""
        given = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}", **headers}
        return await self._ask("POST", url, urlencode(fields, doseq=True).encode(), given)

    async def submit(self, url: str, fields: Mapping[str, object]) -> Answer:
        """A form, and the page that it leads to."""
        answer = await self.post(url, fields)
        assert answer.status == 303, f"{answer.status} {answer.text}"
        return await self.see(answer.headers["location"])

    async def upload(self, url: str, **parts: str | bytes) -> Answer:
        """A form with a file: the part that is bytes."""
        body = b"preamble"
        for name, content in parts.items():
            file = '; filename="a;\\"b.dcm"' if isinstance(content, bytes) else ""
            head = f'\r\n--limit\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
            body += head.encode() + (content if isinstance(content, bytes) else content.encode())
        headers = {"content-type": 'multipart/form-data; boundary="limit"', "origin": f"http://{HOST}"}
        return await self._ask("POST", url, body + b"\r\n--limit--\r\n", headers)

    async def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        split = urlsplit(url)
        given = {"host": HOST, **headers}
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": unquote(split.path),
            "root_path": "",
            "query_string": split.query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
            "server": ("127.0.0.1", 8080),
        }
        await self.guard(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        if "set-cookie" in told:
            name, _, value = told["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return Answer(sent[0]["status"], told, b"".join(each.get("body", b"") for each in sent[1:]))
