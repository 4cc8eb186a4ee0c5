"""The image, Compose, the cloud's cluster and the scripts: right by schema, pinned, without passwords, and runnable."""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from servers import KEYS, free_port, postgresql, process, s3, wait_until

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
OURS = "sprite-search"  #: the image that infra/docker makes
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
COMPOSE = yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (INFRA / "docker" / "Dockerfile").read_text()
CLUSTER = yaml.safe_load((INFRA / "ray" / "cluster-aws.yaml").read_text())
FILES = sorted(
    f for f in INFRA.rglob("*") if f.is_file() and f.suffix != ".env" and f.name not in (".env", "space.yaml")
)
SCRIPTS = [f for f in FILES if f.read_text().startswith("#!")]


def name(file):
    return file.relative_to(INFRA).as_posix()


def instructions(stage=None):
    """(instruction, its words) of the Dockerfile's last stage, or of all."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    found = [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]
    last = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[last:] if stage == "last" else found


# -- everywhere -------------------------------------------------------------------------------------


def images():
    """Every image that a file names, with the file."""
    for file in FILES:
        text = file.read_text()
        if file.name == "Dockerfile":
            yield from ((name(file), i) for i in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
        elif file.suffix in (".yaml", ".yml"):
            yield from (
                (name(file), i.strip("'\"")) for i in re.findall(r"^\s*(?:- )?image: (\S+)", text, re.MULTILINE)
            )


@pytest.mark.parametrize(("file", "image"), list(images()))
def test_images_are_pinned(file, image):
    image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", image)
    if image == OURS:  # kustomize adds the tag
        kustomization = yaml.safe_load((INFRA / file).with_name("kustomization.yaml").read_text())
        (image,) = (f"{i['newName']}:{i['newTag']}" for i in kustomization["images"] if i["name"] == OURS)
    repository, _, tag = image.rpartition(":")
    assert repository and re.search(r"\d+\.\d+", tag), f"{image} is not one version"
    if repository.endswith(OURS):
        from sprite_search import __version__

        assert tag.removesuffix("-cuda") == __version__


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_file_holds_a_password(file):
    text = file.read_text()
    given = re.findall(r"(?:PASSWORD|SECRET_KEY|ACCESS_KEY|KEY_ID|TOKEN)\"?[:=] *([^\s,]+)", text)
    given += re.findall(r"://\w+:([^@\s/]+)@", text)
    assert [g for g in given if not g.startswith(("$", '"$', "?", "PASSWORD"))] == []
    assert "BEGIN" not in text and "minioadmin" not in text


def test_versions_are_those_of_the_tests():
    kubernetes = (INFRA / "kubernetes" / "study" / "rayjob.yaml").read_text()
    assert f'rayVersion: "{PINNED["ray"]}"' in kubernetes
    assert DOCKERFILE.count("-c constraints.txt") == 2, "what is installed is pinned"
    pythons = set(re.findall(r"FROM python:(\d+\.\d+)", DOCKERFILE))
    assert pythons == {"3.11"}
    databases = {i for _, i in images() if i.startswith("postgres:")} | {i for _, i in images() if "seaweedfs" in i}
    assert len(databases) == 2, "Compose and Kubernetes run the same servers"


@pytest.mark.parametrize("file", SCRIPTS, ids=name)
def test_scripts_are_sound(file):
    shell = file.read_text().splitlines()[0].rpartition("/")[2]
    subprocess.run([shell, "-n", file], check=True)
    if (shellcheck := shutil.which("shellcheck")) is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", [f for f in FILES if f.suffix == ".md"], ids=name)
def test_readmes_name_files_and_commands_that_exist(file):
    from sprite_search.cli import main

    text = file.read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (file.parent / link).exists(), link
    told = " ".join(re.findall(r"```sh\n.*?```|`[^`]+`", text, re.DOTALL))
    for command in re.findall(r"(?:(?<!-n )sprite-search|run --rm search) ([a-z]+)\b", told):
        assert command in main.commands, command


# -- the image --------------------------------------------------------------------------------------


def test_the_dockerfile_passes_hadolint():
    if (hadolint := shutil.which("hadolint")) is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, INFRA / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_has_no_root_and_says_how_it_is():
    last = instructions("last")
    assert [words for word, words in last if word == "USER"] == ["1000:1000"]
    assert any(word == "USER" for word, _ in last[-8:]), "nothing is installed after it"
    (check,) = (words for word, words in last if word == "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    from sprite_search.cli import main

    assert command[0] == OURS and command[1] in main.commands
    assert ("STOPSIGNAL", "SIGTERM") in last


def test_the_image_is_made_of_what_is_there_and_sent():
    sent = {
        line[1:] for line in (INFRA / "docker" / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for word, words in instructions()
        if word == "COPY" and "--from" not in words
        for source in words.split()[:-1]
    }
    assert copied == sent and all((ROOT / source).exists() for source in copied)


def test_the_requirements_of_the_image_are_read_from_the_project(tmp_path):
    (line,) = (words for word, words in instructions() if word == "RUN" and "tomllib" in words)
    program = shlex.split(line)[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    told = done.stdout.split("\n")
    assert any(t.startswith("torch>=") for t in told) and any(t.startswith("psycopg") for t in told)
    assert any(t.startswith("ray[default]") for t in told) and any(t.startswith("optuna-dashboard") for t in told)
    for requirement in filter(None, told):
        assert re.match(r"[\w-]+", requirement)[0].lower() in {n.lower() for n in PINNED}, (
            f"{requirement} is not pinned"
        )


# -- Compose ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_fits_its_schema(file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, INFRA / "compose" / file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_passwords_of_compose_come_from_the_user_alone(tmp_path):
    text = (INFRA / "compose" / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert set(re.findall(r"\$\{(\w+)", text)) - asked == {"SPRITE_IMAGE"}, "nothing else has a default"
    example = (INFRA / "compose" / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == asked and "=" not in re.sub(r"\w+=\n", "", example)
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (tmp_path / ".env.example").write_text(example)
    readme = (INFRA / "compose" / "README.md").read_text()
    (line,) = re.findall(r"^sh -c .*$", readme, re.MULTILINE)
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    made = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", (tmp_path / ".env").read_text(), re.MULTILINE))
    assert set(made) == asked and len(set(made.values())) == len(asked)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_of_compose_is_whole(service):
    given = SERVICES[service]
    ends = given.get("restart") == "no" and given["healthcheck"] == {"disable": True}
    assert ends or given["healthcheck"]["test"][0] == "CMD"
    assert all(str(port).startswith("127.0.0.1:") for port in given.get("ports", []))
    for volume in given.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (INFRA / "compose" / source).exists()
    for other, how in given.get("depends_on", {}).items():
        ended = SERVICES[other]["healthcheck"] == {"disable": True}
        assert how["condition"] == ("service_completed_successfully" if ended else "service_healthy")
    told = " ".join([*given.get("environment", {}).values(), *given.get("command", [])])
    for host, port in re.findall(r"(?:://|@)([a-z]+):(\d+)", told):
        assert any(f":{port}" in str(p) for p in SERVICES[host].get("ports", [])), f"{host}:{port} is nobody's"
        assert service == host or host in reachable(service), f"{service} starts before {host}"


def reachable(service):
    """What a service waits for, and what that waits for."""
    found = set(SERVICES[service].get("depends_on", {}))
    return found.union(*(reachable(other) for other in found))


def options(command):
    return {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}


def test_servers_know_their_options():
    from mlflow.cli import cli

    kubernetes = yaml.safe_load_all((INFRA / "kubernetes" / "services" / "mlflow.yaml").read_text())
    pod = next(d for d in kubernetes if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    server = next(c for c in pod["containers"] if c["name"] == "mlflow")
    assert [*server["command"], *server["args"]] == [*SERVICES["mlflow"]["entrypoint"], *SERVICES["mlflow"]["command"]]
    given = {a.partition("=")[0] for a in server["args"]}
    assert given <= options(cli.commands["server"])
    assert isinstance(cli.commands["db"], click.Group) and "upgrade" in cli.commands["db"].commands

    told = subprocess.run(["optuna-dashboard", "--help"], capture_output=True, text=True, check=True).stdout
    for argument in SERVICES["dashboard"]["entrypoint"][1:]:
        assert argument.partition("=")[0] in told


# -- what can run here ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def databases():
    """A PostgreSQL server where the script of the servers has run: its port and a way to ask it."""
    script = INFRA / "kubernetes" / "services" / "databases.sh"

    def make(database, **passwords):
        environment = {
            **os.environ,
            "PGHOST": str(database.folder),
            "PGPORT": str(database.port),
            "POSTGRES_USER": "me",
        }
        environment["PATH"] = f"{database.programs}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["sh", script], env={**environment, **passwords}, check=True)

    with postgresql() as database:
        make(database, OPTUNA_PASSWORD=secrets.token_hex(8), MLFLOW_PASSWORD="it's; 'quoted'")
        yield database, make


def test_each_database_has_a_user_that_sees_no_other(databases):
    import psycopg

    database, make = databases

    def ask(user, base, question):
        with psycopg.connect(host="127.0.0.1", port=database.port, user=user, dbname=base) as connection:
            return connection.execute(question).fetchall()

    kept = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('optuna', 'mlflow') ORDER BY 1"
    before = dict(ask("me", "postgres", kept))
    assert all(p.startswith("SCRAM-SHA-256") for p in before.values())
    with psycopg.connect(host="127.0.0.1", port=database.port, user="optuna", dbname="optuna") as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        ask("optuna", "mlflow", "SELECT 1")
    assert ask("me", "postgres", "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> 'me'") == [(0,)]

    make(database, OPTUNA_PASSWORD="another", MLFLOW_PASSWORD="another")
    after = dict(ask("me", "postgres", kept))
    assert all(after[user] != before[user] for user in ("optuna", "mlflow")), "again, it changes the passwords"
    assert ask("optuna", "optuna", "SELECT * FROM mine") == [(1,)]


def test_rays_launcher_takes_the_cluster():
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(CLUSTER))
    with pytest.raises(Exception, match=r"wrokers"):
        validate_config(prepare_config({**CLUSTER, "wrokers": 1}))
    kinds = CLUSTER["available_node_types"]
    assert kinds[CLUSTER["head_node_type"]]["resources"]["GPU"] == 0
    assert kinds["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert kinds["gpu"]["min_workers"] == 0
    doors = CLUSTER["provider"]["security_group"]["IpPermissions"]
    assert all(r["CidrIp"] != "0.0.0.0/0" for d in doors for r in d["IpRanges"])
    assert "--env=RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]


@pytest.mark.soak
def test_the_servers_of_compose_work_together(databases, tmp_path):
    """Their commands as they stand, but for addresses: schema, MLflow with artifacts in S3, the dashboard."""
    import urllib.error
    import urllib.request

    import mlflow

    database, _ = databases
    ports = {"mlflow": free_port(), "dashboard": free_port()}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with s3() as store:

        def here(text):
            text = re.sub(r"\$\{\w+:\?[^}]*\}", "x", text).replace("http://store:8333", store)
            text = text.replace("postgres:5432", f"127.0.0.1:{database.port}").replace("s3://artifacts", "s3://sprites")
            return text.replace("--port=5000", f"--port={ports['mlflow']}").replace(
                "--port=8080", f"--port={ports['dashboard']}"
            )

        def command(service):
            given = SERVICES[service]
            environment = {n: here(v) for n, v in given.get("environment", {}).items()}
            keys = {**os.environ, **environment, **KEYS, "PATH": binaries}
            return [here(w) for w in (*given["entrypoint"], *given["command"])], keys

        for upgrade in ("mlflow-upgrade", "optuna-upgrade", "mlflow-upgrade", "optuna-upgrade"):
            words, environment = command(upgrade)
            subprocess.run(words, env=environment, check=True, capture_output=True)
        with (
            process(*command("mlflow")[:1], env=command("mlflow")[1]),
            process(*command("dashboard")[:1], env=command("dashboard")[1]),
        ):
            checks = {s: SERVICES[s]["healthcheck"]["test"] for s in ports}
            for service, (_, program, *arguments) in checks.items():
                assert program == "python"
                arguments = [re.sub(r":(5000|8080)/", f":{ports[service]}/", a) for a in arguments]
                healthy = lambda a=arguments: subprocess.run([sys.executable, *a], capture_output=True).returncode == 0  # noqa: E731
                wait_until(healthy, service)
            address = f"http://127.0.0.1:{ports['mlflow']}"
            client = mlflow.MlflowClient(address)
            run = client.create_run(client.create_experiment("toy")).info.run_id
            client.log_text(run, "hello", "greeting.txt")
            assert [f.path for f in client.list_artifacts(run)] == ["greeting.txt"]

            def status(host):
                request = urllib.request.Request(f"{address}/api/2.0/mlflow/experiments/search?max_results=1")
                request.add_header("Host", host)
                try:
                    return urllib.request.urlopen(request).status
                except urllib.error.HTTPError as error:
                    return error.code

            assert status("mlflow:5000") == status("localhost:5000") == 200 and status("elsewhere.org") == 403
