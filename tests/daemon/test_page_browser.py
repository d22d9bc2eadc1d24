"""The pages in a real browser, on the real program: by keyboard, without a word on its console, kept up to date."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from router.settings import Role
from tests.daemon.conftest import FreePort, Routers
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.sinks import destination

pytestmark = pytest.mark.operate

CHROMIUM = shutil.which("chromium")
OPERATOR = "operator-0123456789"
EVERY_MS = 5000
"""Pages ask so often for what has changed."""
SIZES = ((360, 740), (1280, 800), (1920, 1080))
PATHS = ("/", "/queue", "/deliveries/1", "/studies", "/destinations/NOWHERE", "/route", "/configuration")


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """Debian's."""
    if CHROMIUM is None:
        pytest.skip("chromium is not on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Its sandbox does not start as root.
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


def test_an_operator_needs_no_mouse(routers: Routers, free_port: FreePort, chromium: Browser) -> None:
    """Logs in, sees what is wrong, watches it change, drops what waits, and is told when the router has gone."""
    port = free_port()
    http = {"host": "127.0.0.1", "port": port, "tokens_file": "tokens"}
    router = routers(destinations=[destination("NOWHERE", 1)], http=http)
    _write_token(router.folder / "tokens")
    router.start()
    assert set(send(router.port, [made(1)])) == {0}
    router.wait_for("destination in trouble")
    page = chromium.new_page(base_url=f"http://127.0.0.1:{port}")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.clock.install()
    _log_in(page)
    banner, card = page.get_by_role("status"), page.get_by_role("article")
    expect(banner).to_contain_text("1 destination in trouble since")
    expect(card).to_contain_text("Waiting 1 delivery")
    assert set(send(router.port, [made(2)])) == {0}
    page.clock.fast_forward(EVERY_MS)
    expect(card).to_contain_text("Waiting 2 deliveries")
    _looks_right(page)
    _drop(page)
    page.goto("/")
    assert not said
    router.stop()
    page.clock.fast_forward(EVERY_MS)
    expect(page.get_by_role("alert")).to_contain_text("The router does not answer since")


def _write_token(path: Path) -> None:
    path.touch(0o600)
    path.write_text(f"ward {Role.OPERATE} {OPERATOR}\n")


def _log_in(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url("/login?then=%2F")
    page.get_by_label("Token").focus()
    page.keyboard.type(OPERATOR)
    page.keyboard.press("Enter")
    expect(page).to_have_url("/")


def _looks_right(page: Page) -> None:
    """Nothing runs out of the window, and the dark is dark."""
    for path in PATHS:
        page.goto(path)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(grounds)) == len(grounds)


def _drop(page: Page) -> None:
    page.goto("/deliveries/1")
    page.get_by_text("Drop for good").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("NOWHERE")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Given up for good: 1 delivery.")
