"""The layer that is written by hand, against answers that a test makes up."""

import os
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import httpx

import sealfleet
from sealfleet import connection
from sealfleet_api.api.profiles import delete_profile
from sealfleet_api.api.runs import cancel_run, get_run, list_runs
from sealfleet_api.models import Code, EnqueueRun, RunState

TOKEN = "a-token-of-a-test"
RUN = {
    "run_id": "run_0198c0de-0000-7000-8000-00000000000a",
    "workflow": "billing",
    "created_at": "2026-01-01T00:00:00Z",
}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": "about:blank", "title": "No.", "status": status, "code": code, "detail": "Why."}
    return httpx.Response(status, json=body, headers=headers)


class Scripted:
    """Answers one after the other, and keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Client(unittest.TestCase):
    def setUp(self) -> None:
        self.pauses: list[float] = []
        for place in ("sealfleet.connection.time.sleep",):
            self.enterContext(mock.patch(place, self.pauses.append))

    def connected(self, answer: Callable[[httpx.Request], httpx.Response]) -> sealfleet.Connection:
        made = sealfleet.connect_with("https://api.example/", TOKEN)
        made._httpx_args["transport"] = httpx.MockTransport(answer)
        return made

    def test_a_problem_is_an_exception_with_its_code(self) -> None:
        script = Scripted(problem(404, "not_found"))
        with self.assertRaises(sealfleet.ProblemError) as raised:
            sealfleet.call(get_run.sync_detailed, "run_x", client=self.connected(script))
        self.assertEqual((raised.exception.code, raised.exception.status), (Code.NOT_FOUND, 404))
        self.assertEqual(str(raised.exception), "not_found: Why.")
        self.assertEqual(script.asked[0].headers["authorization"], f"Bearer {TOKEN}")
        self.assertEqual(str(script.asked[0].url), "https://api.example/v1/runs/run_x")

    def test_what_is_not_of_this_api_is_told_apart(self) -> None:
        for answer in [
            httpx.Response(200, text="<html>"),
            httpx.Response(200, json=[1]),
            httpx.Response(403, json={"message": "Forbidden"}),
            httpx.Response(302, headers={"location": "https://elsewhere.example"}),
        ]:
            client = self.connected(Scripted(answer))
            with self.assertRaises(sealfleet.UnreadableAnswer, msg=str(answer)):
                sealfleet.call(get_run.sync_detailed, "run_x", client=client)

    def test_an_empty_answer_is_none(self) -> None:
        client = self.connected(Scripted(httpx.Response(204)))
        self.assertIsNone(sealfleet.call(delete_profile.sync_detailed, "crm", client=client))

    def test_wrong_arguments_are_the_callers_fault(self) -> None:
        with self.assertRaises(TypeError):
            sealfleet.call(get_run.sync_detailed, nothing="x")  # type: ignore[call-arg]

    def test_what_changes_nothing_is_sent_again(self) -> None:
        lost, busy = (
            httpx.ConnectError("lost"),
            problem(429, "rate_limited", **{"retry-after": "2"}),
        )
        script = Scripted(lost, problem(503, "unavailable"), busy, problem(404, "not_found"))
        with self.assertRaises(sealfleet.ProblemError):
            sealfleet.call(get_run.sync_detailed, "run_x", client=self.connected(script))
        self.assertEqual(len(script.asked), 4)
        self.assertGreaterEqual(self.pauses[2], 2)
        # Enough is enough.
        script = Scripted(*[httpx.ReadTimeout("late")] * 4)
        with self.assertRaises(httpx.ReadTimeout):
            sealfleet.call(get_run.sync_detailed, "run_x", client=self.connected(script))

    def test_what_may_change_something_twice_is_sent_once(self) -> None:
        script = Scripted(httpx.ReadTimeout("late"))
        with self.assertRaises(httpx.ReadTimeout):
            sealfleet.call(cancel_run.sync_detailed, "run_x", client=self.connected(script))
        self.assertEqual(self.pauses, [])

    def test_a_long_retry_after_is_the_callers_to_wait_for(self) -> None:
        script = Scripted(problem(429, "rate_limited", **{"retry-after": "60"}))
        with self.assertRaises(sealfleet.ProblemError):
            sealfleet.call(get_run.sync_detailed, "run_x", client=self.connected(script))
        self.assertEqual(self.pauses, [])

    def test_a_run_is_enqueued_with_one_key_however_often_it_is_sent(self) -> None:
        script = Scripted(httpx.ReadTimeout("late"), problem(400, "invalid_request"))
        with self.assertRaises(sealfleet.ProblemError):
            sealfleet.enqueue(self.connected(script), EnqueueRun([], "billing"))
        first, second = (request.headers["idempotency-key"] for request in script.asked)
        self.assertTrue(first)
        self.assertEqual(first, second)
        script = Scripted(problem(400, "invalid_request"))
        with self.assertRaises(sealfleet.ProblemError):
            run = EnqueueRun([], "billing")
            sealfleet.enqueue(self.connected(script), run, idempotency_key="mine")
        self.assertEqual(script.asked[0].headers["idempotency-key"], "mine")

    def test_pages_are_one_list(self) -> None:
        summary = {**RUN, "state": "queued"}
        first = httpx.Response(200, json={"items": [summary, summary], "next_cursor": "more"})
        script = Scripted(first, httpx.Response(200, json={"items": [summary]}))
        client = self.connected(script)
        runs = list(sealfleet.pages(list_runs.sync_detailed, client=client, limit=2))
        self.assertEqual([run.state for run in runs], [RunState.QUEUED] * 3)
        asked = [dict(request.url.params) for request in script.asked]
        self.assertEqual(asked, [{"limit": "2"}, {"limit": "2", "cursor": "more"}])

    def test_nothing_prints_the_credential(self) -> None:
        client = self.connected(Scripted(problem(404, "not_found")))
        self.assertNotIn(TOKEN, repr(client) + str(client) + repr(client.get_httpx_client()))
        with self.assertRaises(sealfleet.ProblemError) as raised:
            sealfleet.call(get_run.sync_detailed, "run_x", client=client)
        self.assertNotIn(TOKEN, repr(raised.exception))
        self.assertNotIn(TOKEN, repr(client.with_headers({"x-other": "y"})))


class Addresses(unittest.TestCase):
    def test_plain_http_goes_to_this_machine_only(self) -> None:
        for url in [
            "https://api.example",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:1",
        ]:
            self.assertEqual(connection.usable(url + "/"), url)
        for url in [
            "http://api.example",
            "http://127.0.0.1.example",
            "https://user:word@api.example",
            "https://api.example?x=1",
            "https://api.example#x",
            "ftp://api.example",
            "api.example",
        ]:
            with self.assertRaises(ValueError, msg=url):
                connection.usable(url)

    def test_a_token_comes_from_a_file_of_its_owner(self) -> None:
        place = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file = place / "token"
        file.write_text(TOKEN + "\n")
        file.chmod(0o600)
        names = {"SEALFLEET_API_URL": "https://api.example", "SEALFLEET_TOKEN_FILE": str(file)}
        with mock.patch.dict(os.environ, names):
            self.assertEqual(sealfleet.connect().token, TOKEN)
        with mock.patch.dict(os.environ, {}, clear=True), self.assertRaises(ValueError):
            sealfleet.connect()
        file.chmod(0o640)
        with self.assertRaises(PermissionError):
            connection.read_token(file)
        file.chmod(0o600)
        for text in ["", "two words", "two\nlines"]:
            file.write_text(text)
            with self.assertRaises(ValueError):
                connection.read_token(file)


class Waits(unittest.TestCase):
    def test_a_wait_has_an_end(self) -> None:
        run = mock.Mock(state=RunState.RUNNING)
        with mock.patch("sealfleet.calls.call", return_value=run), self.assertRaises(TimeoutError):
            sealfleet.wait(mock.Mock(), "run_x", timeout=0)

    def test_a_wait_ends_with_the_run(self) -> None:
        states = [RunState.QUEUED, RunState.RUNNING, RunState.DEAD, RunState.RUNNING]
        runs = [mock.Mock(state=state) for state in states]
        with mock.patch("sealfleet.calls.call", side_effect=runs), mock.patch("time.sleep"):
            self.assertEqual(sealfleet.wait(mock.Mock(), "run_x").state, RunState.DEAD)


if __name__ == "__main__":
    unittest.main()
