# SPDX-License-Identifier: Apache-2.0
"""The demo page and its client in a real Chromium: what curl publishes is seen, acked and gone from the mailbox."""
import json
import os
import pathlib
import subprocess

import pytest

from support.server import API_KEY, make_event
from support.tokens import make_token

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    missing = [path for path in (CHROMIUM, DRIVER) if not pathlib.Path(path).exists()]
    if missing:
        say = pytest.fail if os.environ.get("DOORSTEP_REQUIRE_PEERS") == "1" else pytest.skip
        say(f"no browser: {', '.join(missing)} (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS + [f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


class Page:
    """The page as a person meets it: what is on it, what can be pressed."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, server, fragment=""):
        self.driver.get("about:blank")  # or only the fragment would change
        self.driver.get(f"http://127.0.0.1:{server.port}/{fragment}")
        return self

    def width(self, pixels):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": pixels, "height": 844, "deviceScaleFactor": 1, "mobile": True})

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def rows(self, condition=""):
        return self.driver.find_elements("css selector", f"#messages > li{condition}")

    def text(self, selector):
        return self.find(selector).text

    def state(self):
        return self.find("#state").get_attribute("data-state")

    def press(self, selector):
        self.until(lambda: self.find(selector).is_enabled(), f"{selector} can be pressed")
        self.driver.execute_script("arguments[0].click()", self.find(selector))

    def until(self, condition, what, timeout=15):
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait
        try:
            WebDriverWait(self.driver, timeout, 0.03, [StaleElementReferenceException]).until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"waited for: {what}; on the page: {self.text('body')}") from None

    def until_state(self, state):
        self.until(lambda: self.state() == state, f"state {state}")

    def until_row(self, condition, count=1):
        self.until(lambda: len(self.rows(condition)) == count, f"{count} row(s) {condition}")
        return self.rows(condition)[0]

    def complaints(self):
        """What the console holds against the page: blocked by its policy, thrown, not found. Refused connections are not its fault."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and "WebSocket connection" not in entry["message"] and "ERR_CONNECTION" not in entry["message"]]


@pytest.fixture
def page(chromium):
    chromium.get_log("browser")
    yield Page(chromium)
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def server(doorstep):
    return doorstep({"demo.enabled": True, "delivery.ack_timeout": "500ms", "delivery.retry_base": "50ms", "delivery.retry_max": "200ms"})


def curl(server, event):
    """As the README says it."""
    done = subprocess.run(["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", f"http://127.0.0.1:{server.internal_port}/v1/events",
                           "-H", f"Authorization: Bearer {API_KEY}", "-H", "Content-Type: application/cloudevents+json", "-d", json.dumps(event)],
                          capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.endswith("\n202"), done.stdout


def owed(server, user="alice"):
    reply = server.get(f"/v1/mailboxes/{user}")
    assert reply.status == 200, reply.body
    return reply.json()["owed"]


def open_as(page, server, user="alice"):
    page.open(server, f"#token={make_token(user)}")
    page.until_state("connected")
    return page


def test_what_curl_publishes_is_seen_acked_receipted_and_gone_from_the_mailbox(server, page):
    open_as(page, server)
    assert page.text("#state-text") == "Connected as alice"
    assert "Nothing for alice yet" in page.text("#empty") and "curl http://" in page.text("#curl")
    curl(server, make_event("alice", 1, title="Your parcel is here", time="2026-01-02T03:04:05Z"))
    row = page.until_row("[data-state=receipted]")
    assert row.find_element("css selector", ".title").text == "Your parcel is here"
    assert '{"n":1}' in row.find_element("css selector", ".preview").text.replace(" ", "")
    assert (row.get_attribute("data-attempt"), row.get_attribute("data-redelivered")) == ("1", "false")
    assert not page.find("#empty").is_displayed()
    page.until(lambda: page.text("#unread") == "1 unread", "the unread badge")
    page.until(lambda: owed(server) == 0, "nothing owed")
    page.press("#read-all")
    page.until(lambda: not page.find("#unread").is_displayed(), "nothing unread")
    assert page.complaints() == []


def test_what_is_not_acked_stays_owed_and_comes_again_until_it_is(server, page):
    open_as(page, server).press("#hold")
    curl(server, make_event("alice", 1))
    row = page.until_row("[data-state=received]")
    assert owed(server) == 1
    page.until(lambda: int(row.get_attribute("data-attempt")) >= 2, "attempt 2")
    assert row.find_element("css selector", ".redelivered").is_displayed()
    assert len(page.rows()) == 1 and owed(server) == 1
    assert page.text("#summary") == "1 received, 1 not acked"
    page.press("#ack-all")
    page.until_row("[data-state=receipted]")
    page.until(lambda: owed(server) == 0, "nothing owed")


def test_one_message_is_acked_by_its_own_button_and_a_later_one_stays_owed(server, page):
    open_as(page, server).press("#hold")
    for number in (1, 2):
        curl(server, make_event("alice", number, title=f"number {number}"))
    page.until_row("[data-state=received]", 2)
    newest = page.rows()[0]
    assert newest.find_element("css selector", ".title").text == "number 2"
    page.driver.execute_script("arguments[0].click()", newest.find_element("css selector", "button.ack"))
    page.until(lambda: newest.get_attribute("data-state") == "receipted", "a receipt above a hole")
    assert page.rows()[1].get_attribute("data-state") == "received" and owed(server) == 1


def test_one_message_is_read_unread_and_archived_by_its_own_buttons_and_the_badge_follows(server, page):
    open_as(page, server)
    for number in (1, 2):
        curl(server, make_event("alice", number, title=f"number {number}"))
    page.until_row("[data-state=receipted]", 2)
    page.until(lambda: page.text("#unread") == "2 unread", "two unread")

    def press(row, button):
        page.driver.execute_script("arguments[0].click()", row.find_element("css selector", f"button.{button}"))

    press(page.rows()[0], "read")
    page.until(lambda: page.text("#unread") == "1 unread", "one unread")
    assert page.until_row("[data-read=true]").find_element("css selector", ".title").text == "number 2"
    press(page.rows()[0], "read")
    page.until(lambda: page.text("#unread") == "2 unread", "two unread again")
    press(page.rows()[0], "archive")
    page.until(lambda: page.text("#unread") == "1 unread", "an archived one is not counted")
    assert [row.find_element("css selector", ".title").text for row in page.rows()] == ["number 1"]
    assert page.complaints() == []


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_page_comes_back_by_itself_after_a_restart(server, page, end):
    open_as(page, server).press("#hold")
    curl(server, make_event("alice", 1))
    page.until_row("[data-state=received]")
    getattr(server, end)()
    page.until(lambda: "next try in" in page.text("#state-text"), "the time to the next try")
    server.start()
    page.press("#hold")
    page.until_state("connected")
    page.until_row("[data-state=receipted][data-redelivered=true]")
    curl(server, make_event("alice", 2))
    page.until_row("[data-state=receipted]", 2)
    assert len(page.rows()) == 2
    page.until(lambda: owed(server) == 0, "nothing owed")


def test_a_refused_token_is_explained_and_another_one_helps(server, page):
    page.open(server, f"#token={make_token('alice', secret='a-secret-that-this-server-does-not-know')}")
    page.until_state("closed")
    assert "This token was refused" in page.text("#problem") and "3500" in page.text("#problem")
    page.find("#token").clear()
    page.find("#token").send_keys(make_token("bob"), "\ue007")  # typed, and Enter
    page.until_state("connected")
    assert page.text("#state-text") == "Connected as bob" and not page.find("#problem").is_displayed()


def test_a_token_leaves_the_address_bar_and_outlives_a_reload(server, page):
    open_as(page, server)
    assert "token" not in page.driver.current_url
    page.driver.refresh()
    page.until_state("connected")
    assert make_token("alice").split(".")[0] not in server.log_path.read_text()


def test_what_a_message_says_is_text_and_never_markup(server, page):
    open_as(page, server)
    title = "<img src=x onerror=document.title='run'><b>bold</b>"
    curl(server, make_event("alice", 1, title=title))
    row = page.until_row("[data-state=receipted]")
    assert row.find_element("css selector", ".title").text == title
    assert page.find("#messages").find_elements("css selector", "img, b") == []
    assert page.complaints() == []


@pytest.mark.parametrize("pixels", [390, 360])
def test_nothing_scrolls_sideways_on_a_phone(server, page, pixels):
    page.width(pixels)
    open_as(page, server).press("#hold")

    def overhang():
        return page.driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    assert overhang() == 0
    curl(server, make_event("alice", 1, title="w" * 300, subject="s" * 200))
    row = page.until_row("[data-state=received]")
    page.until(lambda: int(row.get_attribute("data-attempt")) >= 2, "attempt 2")
    page.driver.execute_script("document.getElementById('how').open = true")
    assert overhang() == 0
    assert page.driver.execute_script("return innerWidth") == pixels
