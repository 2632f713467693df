"""A client of the application in this process: ASGI, one request after the other."""

from typing import Any

import anyio
import httpx

from service.asgi import Service


class Client:
    """Asks `service`, which must be used by one client only (it belongs to one event loop at a time)."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def request(self, method: str, path: str, peer: str = "192.0.2.1", **options: Any) -> httpx.Response:
        """The answer to one request; `options` are httpx's."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.service, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://service", trust_env=False) as client:
                return await client.request(method, path, **options)

        return anyio.run(ask)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """As `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, content: bytes = b"", **options: Any) -> httpx.Response:
        """As `request`."""
        return self.request("POST", path, content=content, **options)
