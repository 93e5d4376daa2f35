"""Requests cross a platform of separate processes, and are published, answered, billed and given up there."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from google.pubsub_v1.types import PushConfig

from events.catalog import answers_topic, ingest_subscription
from tests.cloud.topology import trace
from tests.cloud.topology.platform import TENANT, Platform, post, until
from tests.support.command import PENSTOCK, environment

pytestmark = pytest.mark.slow

MODEL = "gemma-3-4b-it"
DOCS = Path(__file__).parents[3] / "docs"
TRACE = DOCS / "trace.md"
ANSWERS = answers_topic(TENANT)
INGEST = ingest_subscription(TENANT).name
REQUESTED, COMPLETED, DUE = "inference-requested-v1", "inference-completed-v1", "answer-due-v1"
USAGE = trace.USAGE


def flat(prompt: str, tokens: int = 5) -> dict[str, Any]:
    """OpenAI's own body."""
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}


def encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def billed(platform: Platform) -> int:
    return sum(line["requests"] for line in platform.usage())


def subjects(messages: list[Any], name: str) -> list[Any]:
    return [message for message in messages if message.attributes["ce-subject"] == name]


def bills(messages: list[Any], name: str) -> set[str]:
    """The attempts at a request that are billed, in pages of usage records."""
    records = [record for message in messages for record in json.loads(message.data)["records"]]
    return {one["attempt"] for one in records if one.get("request") == name and one.get("billed")}


def test_a_flat_body_that_was_published_is_answered_and_billed(platform: Platform) -> None:
    before = billed(platform)
    told = platform.ended(platform.publish(encoded(flat("flat"))))

    assert "completed" == told["status"]
    assert 200 == told["response"]["status_code"]
    assert told["response"]["body"]["choices"][0]["message"]["content"]
    until(lambda: billed(platform) > before, "it is billed")


def test_the_trace_in_the_docs_is_what_one_request_makes_the_parts_say(platform: Platform) -> None:
    body = flat("Say hello.")
    topics = [topic for topic in platform.topics() if not topic.endswith(".dead")]
    with platform.watching(topics) as watch:
        topic = platform.topic(trace.INGEST)
        message_id = platform.publisher.publish(topic, encoded(body)).result(60)
        name = platform.request_of(message_id)
        told = platform.ended(name)
        table = until(
            lambda: trace.whole(trace.rows(platform, watch.look(), name, message_id)), "all of it is said"
        )
    key = trace.INGEST  # the topic acts as a key of its name
    until(lambda: key in {line["key"] for line in platform.usage()}, "it is billed")
    found = trace.rendered(body, table, told["status"], key)
    if os.environ.get("UPDATE_TRACE"):
        TRACE.write_text(found)

    assert found == TRACE.read_text()


def test_an_envelope_that_was_published_keeps_its_options(platform: Platform) -> None:
    body = {"url": "/v1/chat/completions", "body": flat("wrapped"), "lane": "batch", "custom_id": "mine"}
    told = platform.ended(platform.publish(encoded(body)))

    assert ("completed", "batch", "mine") == (told["status"], told["lane"], told["custom_id"])


def test_a_synchronous_call_is_streamed_and_billed(platform: Platform) -> None:
    before = billed(platform)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{platform.up.port}/v1", api_key=platform.up.key) as client:
        chunks = list(client.chat.completions.create(**flat("stream", 7), stream=True))
        whole = client.chat.completions.create(**flat("whole", 7))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert 7 == whole.usage.completion_tokens
    until(lambda: billed(platform) >= before + 2, "both are billed")


def test_a_queued_request_can_be_cancelled_while_it_runs(platform: Platform) -> None:
    long = flat("long", 100_000) | {"ignore_eos": True}
    status, taken = platform.ask("POST", "/v1/requests", long)
    assert 202 == status

    def running() -> bool:
        return platform.ask("GET", f"/v1/requests/{taken['id']}")[1]["status"] == "in_progress"

    until(running, "it runs")
    status, _ = platform.ask("POST", f"/v1/requests/{taken['id']}/cancel")

    assert 200 == status
    assert "cancelled" == platform.ended(taken["id"])["status"]


def test_events_tail_shows_a_request_passing_through_every_part(platform: Platform) -> None:
    arguments = ("events", "tail", "--json", "--type", "inference", "--data-dir", str(platform.up.folder))
    tail = subprocess.Popen([*PENSTOCK, *arguments], stdout=subprocess.PIPE, env=environment())
    try:
        lines = _read_along(tail)
        sources = until(lambda: _sources(platform, lines), "tail shows a request from its start to its end")
    finally:
        tail.terminate()
        tail.communicate()

    assert {"/functions/request", "/functions/routing", "/dispatcher"} == sources


def _read_along(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    assert process.stdout is not None
    stream = process.stdout

    def read() -> None:
        for line in stream:
            lines.append(json.loads(line)["attributes"])  # noqa: PERF401  (read while it grows)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _sources(platform: Platform, lines: list[dict[str, Any]]) -> set[str]:
    """Of one more request, what was shown; the first ones may have come before anybody looked on."""
    name = platform.publish(encoded(flat("watched")))
    platform.ended(name)
    shown = {line["ce-source"] for line in list(lines) if line["ce-subject"] == name}
    return shown if len(shown) == 3 else set()


# --- answers on a topic


@pytest.fixture(scope="module")
def orders(platform: Platform) -> str:
    """The subscription an operator makes, by the docs."""
    name = platform.subscription("orders")
    platform.subscriber.create_subscription(name=name, topic=platform.topic(ANSWERS))
    return name


def snippet(platform: Platform, word: str) -> str:
    """The docs' program that has this word in it, for the project there is."""
    programs = re.findall(r"```python\n(.*?)```", (DOCS / "cloud.md").read_text(), re.DOTALL)
    (found,) = [one for one in programs if word in one]
    return found.replace('"acme"', json.dumps(platform.parts.project))


def test_the_docs_programs_publish_a_request_and_hear_its_answer(platform: Platform, orders: str) -> None:
    subprocess.run([sys.executable, "-c", snippet(platform, "publisher")], check=True, timeout=60)
    listener = subprocess.Popen(
        [sys.executable, "-u", "-c", snippet(platform, "subscriber")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listener.stdout is not None
        heard = listener.stdout.readline()
    finally:
        listener.kill()
        listener.communicate()

    assert heard.startswith("order-4711 completed {'status_code': 200, 'body': {")


def asking(**more: Any) -> bytes:
    return encoded({"url": "/v1/chat/completions", "body": flat("tell me"), "answer": "topic", **more})


def test_who_asked_hears_what_can_be_read_by_the_id_and_who_did_not_nothing(platform: Platform) -> None:
    with platform.watching([ANSWERS, DUE]) as watch:
        silent = platform.publish(encoded(flat("ask for nothing")))
        platform.ended(silent)
        names = {platform.publish(asking()), post_asking(platform)}
        read = {name: platform.ended(name) for name in names}
        until(lambda: names <= set(told(watch.look()[ANSWERS])), "both are told")

    answers = told(watch.seen[ANSWERS])
    assert read == {name: answers[name] for name in names}
    assert {"penstock.answer.ready.v1"} == {one.attributes["ce-type"] for one in watch.seen[ANSWERS]}
    assert [] == subjects(watch.seen[DUE], silent) + subjects(watch.seen[ANSWERS], silent)


def told(messages: list[Any]) -> dict[str, Any]:
    return {message.attributes["ce-subject"]: json.loads(message.data) for message in messages}


def post_asking(platform: Platform) -> str:
    headers = {"authorization": f"Bearer {platform.up.key}", "content-type": "application/json"}
    asked = headers | {"x-penstock-answer": "topic"}
    _, _, answer = post(platform.up.port, "/v1/requests", encoded(flat("by hand")), asked)
    name: str = json.loads(answer)["id"]
    return name


def test_an_envelope_that_is_refused_hears_why_on_the_topic_it_asked_for(platform: Platform) -> None:
    with platform.watching([ANSWERS]) as watch:
        name = platform.publish(asking(lane="express"))
        (message,) = until(lambda: subjects(watch.look()[ANSWERS], name), "it is told")
        read = platform.ended(name)

    assert read == json.loads(message.data)
    assert ("failed", "lane") == (read["status"], read["error"]["param"])


# --- what comes again


@contextmanager
def losing_answers(platform: Platform) -> Iterator[list[int]]:
    """Between Pub/Sub and the request function somebody loses its first answer."""
    answers: list[int] = []
    port = platform.parts.ports["request"]

    class Between(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, _, _ = post(port, self.path, body, dict(self.headers))
            answers.append(status)
            self.send_response(status if len(answers) > 1 else 500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _push_to(platform, server.server_address[1])
        try:
            yield answers
        finally:
            _push_to(platform, port)
            server.shutdown()


def _push_to(platform: Platform, port: int) -> None:
    platform.subscriber.modify_push_config(
        subscription=platform.subscription(INGEST),
        push_config=PushConfig(push_endpoint=f"http://127.0.0.1:{port}/ingest/{TENANT}"),
    )


def test_a_message_that_comes_again_makes_the_same_request_and_the_same_event(platform: Platform) -> None:
    with platform.watching([REQUESTED, COMPLETED, USAGE]) as watch, losing_answers(platform) as answers:
        name = platform.publish(encoded(flat("again")))
        until(lambda: len(answers) >= 2, "it is delivered again")
        said = until(lambda: _two(watch.look()[REQUESTED], name), "it is said again")
        platform.ended(name)
        billed_attempts = until(lambda: bills(watch.look()[USAGE], name), "it is billed")
        finals = subjects(watch.look()[COMPLETED], name)

    assert [204, 204] == answers
    assert 1 == len({message.attributes["ce-id"] for message in said})
    assert 1 == len({message.attributes["ce-id"] for message in finals})
    assert {f"{name}.1"} == billed_attempts


def _two(messages: list[Any], name: str) -> list[Any]:
    found = subjects(messages, name)
    return found if len(found) >= 2 else []


def test_publishing_twice_with_one_idempotency_key_makes_one_request(platform: Platform) -> None:
    with platform.watching([REQUESTED, COMPLETED, USAGE]) as watch:
        key = {"idempotency-key": "order-1"}
        names = {platform.publish(encoded(flat("once")), **key) for _ in range(2)}
        (name,) = names
        until(lambda: _two(watch.look()[REQUESTED], name), "both are taken in")
        platform.ended(name)
        billed_attempts = until(lambda: bills(watch.look()[USAGE], name), "it is billed")
        finals = subjects(watch.look()[COMPLETED], name)

    assert 1 == len({message.attributes["ce-id"] for message in finals})
    assert {f"{name}.1"} == billed_attempts


def test_a_call_made_twice_with_one_idempotency_key_is_answered_once(platform: Platform) -> None:
    headers = {
        "authorization": f"Bearer {platform.up.key}",
        "content-type": "application/json",
        "idempotency-key": "order-2",
    }
    body = encoded(flat("at once"))
    with platform.watching([USAGE]) as watch:
        told = [post(platform.up.port, "/v1/chat/completions", body, headers) for _ in range(2)]
        (_, first, answer), (_, second, again) = told
        name = first["x-request-id"]
        assert {f"{name}.1"} == until(lambda: bills(watch.look()[USAGE], name), "it is billed")

    assert [200, 200] == [status for status, _, _ in told]
    assert (answer, name, "true") == (again, second["x-request-id"], second["idempotent-replayed"])


# --- what cannot be taken


def test_a_body_nobody_can_read_becomes_a_failed_request_that_says_why(platform: Platform) -> None:
    told = platform.ended(platform.publish(b'{"model": '))

    assert "failed" == told["status"]
    assert "not valid JSON" in told["error"]["message"]


def test_an_event_nobody_can_read_goes_to_the_dead_letter_with_its_reason(platform: Platform) -> None:
    dead = f"{REQUESTED}.routing.dead"
    with platform.watching([dead]) as watch:
        platform.publisher.publish(platform.topic(REQUESTED), b"{}", **{"ce-id": "x"}).result(30)
        (letter,) = until(lambda: watch.look()[dead], "it is put aside")

    reasons = [value for value in letter.attributes.values() if "CloudEvents" in value]
    assert reasons, letter.attributes


FOREIGN = "foreign-1"  # the emulator counts its own from 1


def test_a_push_of_another_subscription_than_its_path_names_is_refused(platform: Platform) -> None:
    message = {"messageId": FOREIGN, "data": base64.b64encode(encoded(flat("foreign"))).decode()}
    pushed = {"message": message, "subscription": platform.subscription(INGEST)}
    headers = {"content-type": "application/json"}
    port = platform.parts.ports["request"]
    status, _, _ = post(port, "/ingest/somebody-else", encoded(pushed), headers)

    assert 503 == status
    assert 404 == platform.ask("GET", f"/v1/requests/{platform.request_of(FOREIGN)}")[0]
    assert 200 == platform.ask("GET", "/v1/models")[0]
