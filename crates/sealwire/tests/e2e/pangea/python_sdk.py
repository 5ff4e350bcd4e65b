"""Drives a site with the official Python SDK, unmodified, verification and signing on: python_sdk.py BASE TOKEN CONFIG_ID FOLDER.

Any check that fails raises. The site's configuration has the custom fields `field_int`, `field_bool`, `field_float`, `field_long` and `field_time`.
"""

import contextlib
import datetime
import gzip
import io
import json
import sys
import time
import urllib.request

import pangea.exceptions as errors
import pangea.services.audit.util as util
from between import Between
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pangea.config import PangeaConfig
from pangea.deep_verify import deep_verify
from pangea.dump_audit import dump_audit
from pangea.services import Audit
from pangea.services.audit.exceptions import EventCorruption
from pangea.services.audit.models import DownloadFormat, LogBulkResult, SearchOrder, SearchOrderBy

base, token, config_id, folder = sys.argv[1:]
between = Between(base.removeprefix("http://"))
util.ARWEAVE_BASE_URL = between.base  # the stand-in; everything else of the SDK is as it was published
config = PangeaConfig(base_url_template=base, poll_result_timeout=30)
flaky = PangeaConfig(base_url_template=between.base)
key_file = f"{folder}/client.key"
with open(key_file, "wb") as file:
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write(Ed25519PrivateKey.generate().private_bytes(*pem))

audit = Audit(token, config=config, config_id=config_id)
signer = Audit(token, config=config, private_key_file=key_file, public_key_info={"who": "me"}, tenant_id="t1")
UTC = datetime.timezone.utc
actor = f"bulk-{time.time_ns()}"  # nobody's but this run's


def verified(result):
    return [str(result.membership_verification), str(result.consistency_verification), str(result.signature_verification)]


def equal(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def raises(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


def logging():
    equal(verified(audit.log("hello", actor="me", verify=True).result), ["pass", "none", "none"])
    texts = ["1", "23.50", "<&> \u2028 \U0001F600 \x7f \t é", '{"b": 1}', "", "true"]
    for text in texts:
        result = audit.log(text, new=text, old={"b": 1.5, "a": [1, {"z": None}]}, verify=True).result
        equal(verified(result), ["pass", "pass", "none"])
        equal(result.envelope.event["message"], text)
    result = audit.log("short", verbose=False).result
    assert result.hash and result.envelope is None
    moments = [
        datetime.datetime(2026, 1, 1, tzinfo=UTC),
        datetime.datetime(2026, 1, 1, 1, 2, 3, 120000, tzinfo=UTC),
        datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    ]
    for moment in [None, *moments]:
        result = signer.log("signed & <b>", new={"x": 1}, timestamp=moment, sign_local=True, verify=True).result
        equal([verified(result)[0], verified(result)[2]], ["pass", "pass"])
        result = audit.log("unsigned", timestamp=moment, verify=True).result
        equal(verified(result)[0], "pass")
    event = {"message": "m", "field_int": 1, "field_bool": True, "field_long": {"b": 2, "a": 1.5}, "field_time": moments[0]}
    result = signer.log_event(event, sign_local=True, verify=True).result
    equal([verified(result)[0], verified(result)[2]], ["pass", "pass"])
    result = audit.log_event({"message": "m", "field_float": 1.0}, verify=True).result
    equal([verified(result)[0], result.envelope.event["field_float"]], ["pass", "1.0"])


def bulk():
    result = audit.log_bulk([{"message": f"bulk {i}", "actor": actor} for i in range(50)], verbose=True).result
    equal({str(one.membership_verification) for one in result.results}, {"pass"})
    result = signer.log_bulk([{"message": f"signed {i}"} for i in range(2)], sign_local=True, verbose=True).result
    equal([verified(one)[2] for one in result.results], ["pass", "pass"])
    taken = audit.log_bulk_async([{"message": "async"}], verbose=True)
    equal((taken.http_status, taken.status, taken.accepted_result.retry_counter), (202, "Accepted", 0))
    polled = audit.poll_result(request_id=taken.request_id, result_class=LogBulkResult)
    equal([one.envelope.event["message"] for one in polled.result.results], ["async"])


def searching():
    found = audit.search(query="", limit=5, order=SearchOrder.ASC, verify_consistency=True).result
    equal({tuple(verified(one)[:2]) for one in found.events}, {("pass", "pass")})
    equal(found.events[0].leaf_index, 0)
    page = audit.results(found.id, limit=100, offset=5, verify_consistency=True).result
    equal({tuple(verified(one)[:2]) for one in page.events}, {("pass", "pass")})
    equal({verified(one)[2] for one in page.events}, {"pass", "none"})
    assert page.count == found.count and len(page.events) == min(100, found.count - 5)
    equal(audit.results(found.id, offset=found.count, limit=1).result.events, [])
    raises(errors.BadOffsetException, lambda: audit.results(found.id, offset=found.count + 1))
    raises(errors.NotFound, lambda: audit.results("pas_x"))
    found = audit.search(query='message:""', limit=2, verbose=False).result
    page = audit.results(found.id, limit=2, verify_consistency=True).result
    equal({tuple(verified(one)[:2]) for one in page.events}, {("none", "none")})

    def messages(query, **rest):
        return sorted(one.envelope.event["message"] for one in audit.search(query=query, limit=100, **rest).result.events)

    equal(len(messages(f"actor:{actor} bulk")), 50)
    equal(messages(f'"bulk 7" actor:{actor}'), ["bulk 7"])
    equal(messages("message:Bulk"), [])
    equal(len(messages("bulk", search_restriction={"actor": [actor], "source": []})), 50)
    equal(messages("bulk", search_restriction={"actor": ["nobody"]}), [])
    equal(messages("", search_restriction={"field_float": ["1.0"], "field_int": []}), ["m"])
    equal(messages(f"actor:{actor}", start="0d"), [])
    equal(len(messages(f"actor:{actor}", start="1hour", max_results=7)), 7)
    by_message = audit.search(query=f"message:bulk actor:{actor}", order_by=SearchOrderBy.MESSAGE, order=SearchOrder.ASC, limit=3).result
    equal([one.envelope.event["message"] for one in by_message.events], ["bulk 0", "bulk 1", "bulk 10"])


def roots():
    newest = audit.root().result.data
    assert newest.size > 5 and newest.published_at
    with urllib.request.urlopen(newest.url) as checkpoint:
        assert int(checkpoint.read().splitlines()[1]) >= newest.size
    for size in (1, 2, 3, newest.size):
        equal(audit.root(size).result.data.size, size)
    raises(errors.TreeNotFoundException, lambda: audit.root(10**9))
    raises(errors.ValidationException, lambda: audit.root(0))


def refusals():
    refused = raises(errors.ValidationException, lambda: audit.log_event({"nope": 1}))
    equal([(one.code, one.source) for one in refused.errors], [("UnexpectedProperty", "/event/nope")])
    raises(errors.ValidationException, lambda: audit.log("x", action="y" * 33))
    raises(errors.UnauthorizedException, lambda: Audit("wrong", config=config).root())
    other = Audit(token, config=config, config_id="pci_other")
    equal(raises(errors.ValidationException, other.root).errors[0].code, "ConfigNotExist")


def retries():
    client = Audit(token, config=flaky)
    before = audit.search(query="message:retried", limit=1).result.count
    between.lose = [500, 503]
    equal(verified(client.log("retried", verify=True).result)[0], "pass")
    equal(audit.search(query="message:retried", limit=1).result.count, before + 1)
    vain = audit.search(query='message:"retried in vain"', limit=1).result.count
    between.lose = [503] * 4
    raises(errors.ServiceTemporarilyUnavailable, lambda: client.log("retried in vain"))
    equal(audit.search(query='message:"retried in vain"', limit=1).result.count, vain + 1)
    assert any(len(headers.get("X-Pangea-Retried-Request-Ids", "").split(",")) > 1 for _, headers, _ in between.seen)


def exporting():
    taken = audit.export(start=datetime.datetime(2020, 1, 1, tzinfo=UTC))
    equal((taken.status, taken.http_status), ("Accepted", 202))
    equal(audit.poll_result(request_id=taken.request_id).status, "Success")
    wanted = audit.download_results(request_id=taken.request_id)
    file = audit.download_file(wanted.result.dest_url)
    assert file.filename.endswith(".csv.gz"), file.filename
    lines = gzip.decompress(file.file).decode().split("\n")
    assert lines[0].startswith("leaf_index,hash,received_at,action,actor,") and len(lines) > 60, lines[0]
    found = audit.search(query=f"actor:{actor} bulk", limit=1).result
    wanted = audit.download_results(result_id=found.id, format=DownloadFormat.JSON)
    events = json.loads(gzip.decompress(audit.download_file(wanted.result.dest_url).file))
    equal(len(events), found.count)
    equal(audit.log_stream({"logs": [{"log_id": "1", "data": {"date": "2024-03-29T17:26:50.193Z"}}]}).status, "Success")


def deep():
    """The SDK's own tool over a dump of the whole log."""
    dump = io.StringIO()
    tomorrow = datetime.datetime.now(UTC) + datetime.timedelta(days=1)
    quiet = contextlib.redirect_stdout(io.StringIO())  # it draws its progress
    with quiet:
        dump_audit(audit, dump, datetime.datetime(2026, 1, 1, tzinfo=UTC), tomorrow)
    lines = dump.getvalue().splitlines()
    sizes = {json.loads(line)["tree_size"] for line in lines}
    roots = [audit.root(size).result.data.model_dump() for size in sizes]
    for name, content in (("dump.jsonl", dump.getvalue()), ("roots.json", json.dumps(roots))):
        with open(f"{folder}/{name}", "w") as file:
            file.write(content)
    assert len(lines) > 60, len(lines)
    with quiet:
        found = deep_verify(audit, io.StringIO(dump.getvalue()))
    equal(dict(found), {kind: 0 for kind in found})
    # The tool does find what was changed.
    changed = [line.replace('"bulk 7"', '"bulk 8"') for line in lines]
    with quiet:
        found = deep_verify(audit, io.StringIO("\n".join(changed) + "\n"))
    assert found["hash"] >= 1, found


def tampering():
    """A byte of an envelope is another than the one that was sealed."""
    between.replace = (b'"bulk 7"', b'"bulk 8"')
    client = Audit(token, config=flaky)
    raises(EventCorruption, lambda: client.search(query=f'"bulk 7" actor:{actor}', limit=5))
    between.replace = None
    assert client.search(query=f'"bulk 7" actor:{actor}', limit=5).result.events


for check in (logging, bulk, searching, roots, refusals, retries, exporting, deep, tampering):
    begin = time.monotonic()
    check()
    print(f"{check.__name__}: ok, {time.monotonic() - begin:.1f} s", flush=True)
