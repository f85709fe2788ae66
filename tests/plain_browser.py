"""A browser without JavaScript, and the proxy that ends TLS before the web server: what a page has is what a person can
press."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urlsplit

import httpx

type Files = Mapping[str, tuple[str, bytes, str]]


class Proxy(httpx.HTTPTransport):
    """Ends TLS: asks the web server on its loopback port, as the proxies of `deploy/` do."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on."""
        asked = httpx.Request(
            request.method,
            request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port),
            headers={**request.headers, "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"},
            stream=request.stream,
            extensions=request.extensions,
        )
        return super().handle_request(asked)


class Pressable:
    """A link or a button: its text, and what it is part of."""

    def __init__(self, attrs: Mapping[str, str], form: str) -> None:
        self.attrs, self.form, self.text = attrs, attrs.get("form", form), ""


class FormPage(HTMLParser):
    """The links, buttons and forms of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[Pressable] = []
        self.buttons: list[Pressable] = []
        self.forms: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self._boxes: list[str] = []
        self.text = ""
        self._form = self._choice = self._written = ""
        self._open: Pressable | None = None
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field as the browser would send it, a link or a button."""
        one = {name: text or "" for name, text in attrs}
        name, value = one.get("name", ""), one.get("value", "")
        if tag == "form":
            self._form = one.get("id") or f"form {len(self.forms)}"
            self.forms[self._form] = (one, self.forms.get(self._form, ({}, {}))[1])
        elif tag in {"a", "button"}:
            self._open = Pressable(one, self._form)
            (self.links if tag == "a" else self.buttons).append(self._open)
        elif tag == "select":
            self._choice = name
        elif tag == "option" and ("selected" in one or self._choice not in self._fields(one)):
            self._fields(one)[self._choice] = value
        elif tag == "textarea":
            self._written = name
            self._fields(one)[name] = ""
        elif tag == "input" and one.get("type") == "checkbox" and "checked" not in one:
            self._boxes.append(name)
        elif tag == "input" and name and (one.get("type") != "radio" or "checked" in one):
            self._fields(one)[name] = value

    def handle_endtag(self, tag: str) -> None:
        """Close what was open."""
        if tag == "form":
            self._form = ""
        elif tag in {"a", "button"}:
            self._open = None
        elif tag == "textarea":
            self._written = ""

    def handle_data(self, data: str) -> None:
        """Text of the page, and of what is open."""
        self.text += data
        if self._open:
            self._open.text = " ".join(f"{self._open.text} {data}".split())
        if self._written:
            self._fields({})[self._written] += data

    def boxes(self, beginning: str) -> list[str]:
        """The names of the boxes that nobody ticked yet."""
        return [name for name in self._boxes if name.startswith(beginning)]

    def _fields(self, attrs: Mapping[str, str]) -> dict[str, str]:
        return self.forms.setdefault(attrs.get("form", self._form), ({}, {}))[1]


class PlainBrowser:
    """A person at a page."""

    def __init__(self, address: str, port: int) -> None:
        self._client = httpx.Client(
            base_url=address, transport=Proxy(port), trust_env=False, follow_redirects=True, timeout=60
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def open(self, address: str) -> FormPage:
        """Go to an address."""
        return self._arrive(self._client.get(address))

    def has(self, label: str) -> bool:
        """Whether the page has such a button or link."""
        return any(re.match(label, one.text) for one in [*self.page.buttons, *self.page.links])

    def follow(self, label: str) -> FormPage:
        """Go where the first such link leads."""
        return self.open(next(one.attrs["href"] for one in self.page.links if re.match(label, one.text)))

    def press(self, label: str, typed: Mapping[str, str] | None = None, files: Files | None = None) -> FormPage:
        """Send the form of the first such button, filled with what was typed."""
        found = [one for one in self.page.buttons if re.match(label, one.text)]
        assert found, f"no button {label!r} at {self.at}: {self.page.text}"
        form, fields = self.page.forms[found[0].form]
        chosen = {found[0].attrs["name"]: found[0].attrs.get("value", "")} if "name" in found[0].attrs else {}
        address = found[0].attrs.get("formaction") or form.get("action") or self.at
        sent = {**fields, **chosen, **(typed or {})}
        # A browser says where a form came from; Django asks for it behind TLS.
        return self._arrive(self._client.post(address, data=sent, files=files, headers={"Referer": self.at}))

    def _arrive(self, answer: httpx.Response) -> FormPage:
        assert answer.status_code == 200, f"{answer.url}: {answer.status_code} {FormPage(answer.text).text}"
        self.at, self.page = str(answer.url), FormPage(answer.text)
        return self.page

    @property
    def path(self) -> str:
        """Where the person is."""
        return urlsplit(self.at).path
