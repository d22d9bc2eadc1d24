"""The status page: what is wrong and since when, for people; the same answers as the API's, as HTML.

Every page works without scripts. htmx (``static/VENDORED.md``) only asks for the parts that change, every few seconds.
Nothing of a page is inline, so that the strict policy of ``router.admin.guard`` holds; jinja2 escapes all values.
"""

from collections.abc import Callable, Sequence

from router.admin.destination_api import DestinationApi
from router.admin.page.configuration_page import ConfigurationPage
from router.admin.page.destination_pages import DestinationPages
from router.admin.page.files import Files
from router.admin.page.login import LoginPages
from router.admin.page.overview import OverviewPages
from router.admin.page.queue_pages import QueuePages
from router.admin.page.rendering import Renderer
from router.admin.page.route_page import RoutePage
from router.admin.page.row import Page
from router.admin.page.study_pages import StudyPages
from router.admin.queue_api import QueueApi
from router.admin.sessions import Sessions
from router.admin.study_api import StudyApi
from router.settings import Configuration

__all__ = ["pages"]


def pages(
    destinations: DestinationApi,
    queue: QueueApi,
    studies: StudyApi,
    sessions: Sessions,
    configuration: Callable[[], Configuration],
) -> Sequence[Page]:
    """The rows of all pages.

    Args:
        destinations: answers and takes orders; so do ``queue`` and ``studies``.
        queue: as ``destinations``.
        studies: as ``destinations``.
        sessions: of those who log in.
        configuration: that is in force.
    """
    renderer = Renderer(destinations.clock, sessions)

    def our_ae_title() -> str:
        return (configuration().listeners[0].ae_titles or ("ROUTER",))[0]

    return [
        *OverviewPages(destinations, queue, destinations.health, renderer).pages(),
        *QueuePages(queue, studies, renderer).pages(),
        *StudyPages(studies, renderer).pages(),
        *DestinationPages(destinations, our_ae_title, renderer).pages(),
        *RoutePage(configuration, renderer).pages(),
        *ConfigurationPage(configuration, renderer).pages(),
        *LoginPages(sessions, renderer).pages(),
        *Files(renderer).pages(),
    ]
