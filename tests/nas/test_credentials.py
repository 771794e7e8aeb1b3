"""Passwords, keys and tokens in URLs: neither stored nor shown, however odd they are."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli import main
from nas.cluster.job import JobError, runtime_env, search_command
from nas.configuration import ConfigError, override
from nas.credentials import has_credentials, reason, scrubbed, without_credentials
from nas.data.archive import open_root
from nas.data.config import DataError
from nas.runs.remote.files import Remote, RemoteError
from nas.runs.remote.staging import staging_path
from nas.runs.run_directory import RunDirectory
from tests.support.toy_search import toy_config

HARMLESS = [
    "file:///a@b",
    "file:///a:b@c",
    "sqlite:////runs/a:b@c.db",
    "sqlite:///C:/runs/a@b.db",
    "memory://bucket/run",
    "s3://bucket/a@b/c",
    "sftp://me@host/runs",
    "http://head:8265",
    "postgresql+psycopg://me@host:5432/db?sslmode=require&passfile=/home/me/.pgpass",
    "https://host/x.zip?versionId=3&compass=north&design=2",
    "https://host/a@b",
    "runs/a:b@c",
    "experiments.signs:search",
]

CASES = {
    "s3://u:SECRET@bucket/x": "s3://u:***@bucket/x",
    "redis://:SECRET@host": "redis://:***@host",
    "ftp://u:a/b@SECRET:#?%@host/x": "ftp://u:***@host/x",
    "https://SECRET@host/x": "https://***@host/x",
    "simplecache::s3://u:SECRET@b/x": "simplecache::s3://u:***@b/x",
    "zip://a.zip::ftp://u:SECRET@b/x": "zip://a.zip::ftp://u:***@b/x",
    "--set=storage=postgresql://u:a SECRET@h/db": "--set=storage=postgresql://u:***@h/db",
    "postgresql+psycopg://u:SECRET@h/db?password=SECRET": "postgresql+psycopg://u:***@h/db?password=***",
    "postgresql://h/db?user=u&sslpassword=a#SECRET&x=1": "postgresql://h/db?user=u&sslpassword=***&x=1",
    "https://h/x?X-Amz-Credential=SECRET&X-Amz-Signature=SECRET&a=1": (
        "https://h/x?X-Amz-Credential=***&X-Amz-Signature=***&a=1"
    ),
    "s3://b/x?AWSAccessKeyId=SECRET&AccessKey=SECRET&token=SECRET": "s3://b/x?AWSAccessKeyId=***&AccessKey=***&token=***",
    "az://c/x?se=1&sig=SECRET%3D": "az://c/x?se=1&sig=***",
    "mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3DSECRET": "mssql+pyodbc:///?odbc_connect=***",
    "http://h/#access_token=SECRET": "http://h/#access_token=***",
}


@pytest.mark.parametrize("url", HARMLESS)
def test_what_holds_none_stays_as_it_is(url):
    assert without_credentials(url) == scrubbed(url) == url
    assert not has_credentials(url)


@pytest.mark.parametrize("url", CASES)
def test_what_holds_some_loses_them(url):
    assert without_credentials(url) == CASES[url]
    assert has_credentials(url)
    assert not has_credentials(CASES[url])
    if " " not in url:
        assert scrubbed(f"it said: '{url}' and (\\n{url}") == f"it said: '{CASES[url]}' and (\\n{CASES[url]}".replace(
            "***' and", "*** and"
        )


ODD = st.text(st.sampled_from("aZ9:/@?#%&=+;,.!$'\"()[]{}<>\\|*~`^-_ é\n"), min_size=6, max_size=24)


@settings(max_examples=300, deadline=None)
@given(
    password=ODD,
    frame=st.sampled_from(["ftp://me:{}@host/runs", "simplecache::s3://me:{}@b", "--run-dir=s3://:{}@b/x"]),
)
def test_no_password_is_left_whatever_it_holds(password, frame):
    kept = without_credentials(frame.format(password))
    pieces = [password[start : start + 4] for start in range(len(password) - 3)]
    assert not [piece for piece in pieces if piece in kept and piece not in frame and piece.strip("*")]
    assert without_credentials(kept) == kept


@settings(max_examples=200, deadline=None)
@given(
    secret=ODD.filter(lambda text: "&" not in text),
    key=st.sampled_from(["password", "Token", "X-Amz-Signature", "sig"]),
)
def test_no_secret_parameter_is_left(secret, key):
    assert without_credentials(f"postgresql://h/db?a=1&{key}={secret}&b=2").endswith(f"?a=1&{key}=***&b=2")


@pytest.mark.parametrize("password", ["pa55word", "pa55/word", "pa55@wo:rd", "pa55?w#rd"])
def test_errors_about_a_url_do_not_repeat_parts_of_its_password(password):
    """urllib puts what it takes for a port into its message."""
    with pytest.raises(RemoteError) as caught:
        Remote(f"ftp://me:{password}@host.invalid:x/runs")
    assert "pa55" not in str(caught.value)
    assert "pa55" not in str(staging_path(f"ftp://me:{password}@host/runs"))
    assert "pa55" not in reason(ValueError(f"login of me with {password} refused"), f"ftp://me:{password}@host")


COMMAND = [
    "nasfpn",
    "search",
    "toy:search",
    "--run-dir",
    "s3://me:pa55/w@rd@bucket/runs",
    "--set",
    "data.archive=https://host/x.zip?X-Amz-Signature=pa55",
    "--address",
    "http://me:pa55@head:8265",
]


def test_config_json_holds_no_password_and_the_same_search_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", COMMAND)
    archived = override(toy_config(tmp_path / "data"), ["data.archive=https://me:pa55@host/x.zip?sig=pa55"])
    run = RunDirectory(tmp_path / "run")
    for _ in range(2):
        with run.claim(archived):
            run.journal_file.touch()
    assert [path for path in run.path.rglob("*") if path.is_file() and b"pa55" in path.read_bytes()] == []
    assert run.read_record()["command"][:5] == [*COMMAND[:4], "s3://me:***@bucket/runs"]
    assert run.read_config().data.archive == "https://me:***@host/x.zip?sig=***"


@pytest.mark.parametrize("url", ["postgresql+psycopg://me:pa55@host/db", "postgresql+psycopg://host/db?password=pa55"])
def test_a_password_in_storage_is_refused(tmp_path, url):
    with pytest.raises(ConfigError, match=r"storage .*holds a password.*PGPASSWORD") as caught:
        override(toy_config(tmp_path), [f"storage={url}"])
    assert "pa55" not in str(caught.value)


def test_an_archive_that_cannot_be_read_is_named_without_its_password(tmp_path):
    config = override(toy_config(tmp_path), ["data.archive=nosuch://me:pa55/@host/x.zip", f"data.root={tmp_path}/data"])
    with pytest.raises(DataError, match=r"nosuch://me:\*\*\*@host/x.zip cannot be opened") as caught:
        open_root(config.data)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: search_command("toy:search", "s3://me:pa55@bucket/runs"),
        lambda: search_command("toy:search", "/runs", assignments=["storage=postgresql://me:pa55@host/db"]),
        lambda: runtime_env(".", ["DATABASE=postgresql://me:pa55@host/db"]),
        lambda: runtime_env("https://pa55@host/code.zip", []),
    ],
)
def test_nothing_with_a_password_is_sent_as_a_job(make):
    with pytest.raises(JobError, match=r"\*\*\*.*dashboard") as caught:
        make()
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nosuch://me:pa55@host/runs"],
        ["extend", "nosuch://me:pa55@host/runs", "--trials", "+1"],
        ["describe", "nosuch://me:pa55@host/runs"],
        ["search", "experiments.signs:smoke", "--run-dir", "runs/x", "--set", "ftp://me:pa55@host"],
        ["search", "experiments.signs:smoke", "--run-dir", "runs/x", "--set", "trials=ftp://me:pa55@host"],
        ["submit", "experiments.signs:smoke", "--run-dir", "/x", "--address", "ftp://me:pa55@host"],
    ],
)
def test_the_error_line_holds_no_password(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nasfpn", *arguments])
    with pytest.raises(SystemExit):
        main()
    output = "".join(capsys.readouterr())
    assert "error: " in output
    assert "pa55" not in output
