"""What browsers send in forms, read within bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.admin.exchange import LARGEST_BODY, body_of
from router.admin.page.row import SEE_OTHER

LARGEST_FILE = 8 << 20
"""Bytes of a form with a file."""
MOST_FIELDS = 2000


@dataclass(frozen=True, slots=True)
class Form:
    """Fields, each with its values in order."""

    fields: Mapping[str, list[str]]

    def one(self, name: str) -> str:
        """Its first value without blanks around it; empty: it was not given."""
        return next(iter(self.fields.get(name, ())), "").strip()

    def several(self, name: str) -> list[str]:
        """All of its values."""
        return self.fields.get(name, [])


async def form_of(request: Request) -> Form:
    """The form in a request's body.

    Raises:
        HTTPException: it is too large.
    """
    body = await body_of(request, LARGEST_BODY)
    try:
        return Form(parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(413, f"the form has more than {MOST_FIELDS} fields") from error


async def upload_of(request: Request) -> Mapping[str, bytes]:
    """The parts of a form that may hold a file (RFC 7578), by name; the file of a part is its content.

    Raises:
        HTTPException: it is too large, or no such form.
    """
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise HTTPException(422, "that is no form with a file")
    body = await body_of(request, LARGEST_FILE)
    return dict(_parts(body, boundary.encode()))


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    # What stands before the first boundary and behind the last one is no part (RFC 2046 5.1.1).
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        header = Message()
        for line in head.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.casefold() == "content-disposition":
                header["content-disposition"] = value.strip()
        field = header.get_param("name", header="content-disposition")
        if isinstance(field, str):
            yield field, content


def local(then: str) -> str:
    """``then`` if it is a path of ours, otherwise the first page: nobody is led to another site."""
    ours = then.startswith("/") and not then.startswith("//") and "\\" not in then and then.isprintable()
    return then if ours else "/"


def back_to(then: str, **done: object) -> Response:
    """The answer to a form: the page ``then``, told what was done."""
    where, _, query = local(then).partition("?")
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in {"done", *done}]
    added = [f"{name}={value}" for name, value in done.items()]
    return RedirectResponse(f"{where}?{'&'.join((*kept, *added))}", SEE_OTHER)
