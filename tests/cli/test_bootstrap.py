"""`farebox bootstrap` against a server that speaks as CloudFormation and Lambda do, through the real SDK."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

from farebox.compose.deployment import BOOTSTRAP_EVENT
from tests.cli.gateway import Ran, run
from tests.support.builders import a_secret

KEY = a_secret(7, "fba-")
OUTPUTS = {
    "AdminFunctionName": "farebox-dev-admin",
    "AdminUrl": "https://admin.example.com/",
    "GatewayUrl": "https://gateway.example.com/",
}


class _Aws(BaseHTTPRequestHandler):
    outputs: ClassVar[dict[str, str]] = OUTPUTS
    answer: ClassVar[object] = {"admin_key": KEY}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.asked.append((self.path, body))
        if self.path.startswith("/2015-03-31/functions/"):
            self._say(json.dumps(self.answer).encode(), "application/json")
            return
        if not self.outputs:
            told = "<Message>Stack with id farebox-dev-gateway does not exist</Message>"
            error = f"<Error><Type>Sender</Type><Code>ValidationError</Code>{told}</Error>"
            self._say(f"<ErrorResponse>{error}</ErrorResponse>".encode(), "text/xml", 400)
            return
        members = "".join(
            f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for name, value in self.outputs.items()
        )
        stack = f"<Stacks><member><StackName>s</StackName><Outputs>{members}</Outputs></member></Stacks>"
        result = f"<DescribeStacksResult>{stack}</DescribeStacksResult>"
        self._say(f"<DescribeStacksResponse>{result}</DescribeStacksResponse>".encode(), "text/xml")

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _say(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def aws(outputs: dict[str, str] = OUTPUTS, answer: object = None) -> Iterator[tuple[str, type[_Aws]]]:
    spoken = {"admin_key": KEY} if answer is None else answer
    peer = type("Aws", (_Aws,), {"outputs": outputs, "answer": spoken, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), peer) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", peer
        server.shutdown()
        thread.join()


def bootstrap(url: str, *arguments: str, **environment: str) -> Ran:
    told = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return run("bootstrap", *arguments, **{**told, **environment})


def test_it_invokes_the_admin_function_of_the_stage_and_prints_what_to_export() -> None:
    with aws() as (url, peer):
        ran = bootstrap(url, "--stage", "prod")
    assert (ran.status, ran.err) == (0, "")
    assert f"export FAREBOX_URL=https://admin.example.com FAREBOX_ADMIN_KEY={KEY}" in ran.out
    assert "export ANTHROPIC_BASE_URL=https://gateway.example.com ANTHROPIC_AUTH_TOKEN=fb-" in ran.out
    (_, described), (path, invoked) = peer.asked
    assert re.search(r"StackName=farebox-prod-gateway(&|$)", described)
    assert path == "/2015-03-31/functions/farebox-dev-admin/invocations"
    assert json.loads(invoked) == BOOTSTRAP_EVENT


def test_scripts_get_json() -> None:
    with aws() as (url, _):
        ran = bootstrap(url, "--json", "--stack", "mine")
    assert ran.json == {
        "admin_url": "https://admin.example.com",
        "base_url": "https://gateway.example.com",
        "admin_key": KEY,
    }


def test_a_second_time_is_refused_in_the_functions_words() -> None:
    with aws(answer={"error": "This deployment has an admin key already."}) as (url, _):
        ran = bootstrap(url)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "farebox: This deployment has an admin key already.\n"


def test_a_function_that_failed_and_a_stack_that_is_another_are_told() -> None:
    with aws(answer={"errorMessage": "no table", "errorType": "StoreFault"}) as (url, _):
        assert bootstrap(url).err == "farebox: no table\n"
    with aws(outputs={"Other": "x"}) as (url, _):
        ran = bootstrap(url)
    assert (ran.status, ran.err) == (
        1,
        "farebox: Stack farebox-dev-gateway has no output 'AdminFunctionName'; is it the gateway stack?\n",
    )


def test_who_has_not_deployed_or_looks_elsewhere_is_told_what_to_say() -> None:
    with aws(outputs={}) as (url, _):
        ran = bootstrap(url)
    assert (ran.status, ran.err) == (
        1,
        "farebox: There is no stack farebox-dev-gateway in eu-central-1: deploy it with `make deploy`, "
        "or say with --stage and --region which was deployed and where.\n",
    )


def test_who_has_said_no_region_or_has_no_credentials_is_told_how_to() -> None:
    with aws() as (url, peer):
        ran = bootstrap(url, AWS_REGION="", AWS_DEFAULT_REGION="")
        assert (ran.status, "--region" in ran.err) == (1, True)
        ran = bootstrap(url, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        assert (ran.status, "--profile" in ran.err) == (1, True)
    assert peer.asked == []
