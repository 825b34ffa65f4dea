"""An everyday use of the Docker SDK for Python; prints what happened, a line each, for the test to compare."""

import io
import os
import tarfile
import time

import docker

client = docker.from_env(timeout=30)
say = lambda *words: print(*words, flush=True)

say("ping", client.ping(), client.version()["Os"], client.info()["OSType"])
# The pause: Docker mixes up what comes on both streams at once.
say("run", client.containers.run("bb:1", ["sh", "-c", "echo out; sleep 0.2; echo err >&2"], remove=True, stderr=True))
try:
    client.containers.run("bb:1", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
except docker.errors.ContainerError as error:
    say("failed", error.exit_status, error.stderr)
try:
    client.containers.run("nosuchimage:1", "true", remove=True)
except (docker.errors.ImageNotFound, docker.errors.APIError) as error:
    say("no image", type(error).__name__ in ("ImageNotFound", "APIError"))

box = client.containers.run(
    "bb:1",
    ["sh", "-c", "echo ready; exec sleep 100"],
    detach=True,
    name="sdk",
    environment={"A": "1"},
    labels={"tier": "web"},
    mem_limit="64m",
    volumes={"sdkdata": {"bind": "/data", "mode": "rw"}},
    ports={"80/tcp": ("127.0.0.1", None)},
)
box.reload()
say("state", box.status, box.name, box.labels, box.attrs["HostConfig"]["Memory"], list(box.ports))
say("list", [one.name for one in client.containers.list(filters={"label": "tier=web"})])
code, output = box.exec_run(["sh", "-c", "echo $A; sleep 0.2; echo e >&2; exit 4"])
say("exec", code, output)
code, (out, err) = box.exec_run("sh -c 'echo o; echo e >&2'", demux=True)
say("demux", code, out, err)
say("stream", b"".join(box.exec_run("echo streamed", stream=True).output))
code, sock = box.exec_run("cat", stdin=True, socket=True)
sock._sock.sendall(b"through\n")
sock._sock.shutdown(1)
data = b""
while chunk := sock.read(4096):
    data += chunk
say("socket", data[8:])
say("logs", box.logs(), box.logs(stderr=False, tail=1), list(box.logs(stream=True, follow=False)))
say("top", box.top(ps_args="-o pid,args")["Titles"], [row[-1] for row in box.top(ps_args="-o pid,args")["Processes"]])
box.rename("sdk2")
box.pause()
box.reload()
say("paused", box.status)
box.unpause()
box.kill("SIGKILL")
say("wait", box.wait())
box.restart(timeout=1)
box.stop(timeout=0)
box.reload()
say("stopped", box.status, box.attrs["State"]["ExitCode"])
box.remove(v=True)
try:
    client.containers.get("sdk2")
except docker.errors.NotFound as error:
    say("gone", error.explanation)

say("images", [image.tags for image in client.images.list()], client.images.get("bb:1").attrs["Os"])
client.images.get("bb:1").tag("other", "2")
say("tagged", sorted(client.images.get("bb:1").tags))
client.images.remove("other:2")
try:
    client.images.get("nosuch:1")
except docker.errors.ImageNotFound as error:
    say("image gone", error.explanation)
volume = client.volumes.create("sdkvolume", labels={"a": "b"})
say("volume", volume.name, volume.attrs["Labels"], sorted(one.name for one in client.volumes.list(filters={"name": "sdk"})))
volume.remove()
client.volumes.get("sdkdata").remove()
say("networks", sorted(one.name for one in client.networks.list()))

created = client.containers.create("bb:1", "cat", name="sdk3", stdin_open=True, tty=False)
attached = created.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
created.start()
attached._sock.sendall(b"typed\n")
say("attached", attached.read(14)[8:])
created.remove(force=True)

seen = []
for event in client.events(since=0, until=int(time.time()) + 1, decode=True, filters={"container": created.id}):
    seen.append(event["Action"])
say("events", seen)


# The second half: files, networks, images, the low level.
def archive(name, content):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def framed(data):
    """The payloads of the frames of one stream."""
    out, at = b"", 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        out += data[at + 8 : at + 8 + size]
        at += 8 + size
    return out


net = client.networks.create("sdknet", driver="bridge", labels={"a": "b"}, internal=True)
box = client.containers.run(
    "bb:1", ["sh", "-c", "trap exit TERM; sleep 1000 & wait"], detach=True, name="sdk4", network="sdknet"
)
say("put", box.put_archive("/tmp", archive("given", b"from outside\n")), box.exec_run("cat /tmp/given").output)
stream, stat = box.get_archive("/tmp/given")
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
    say("get", stat["name"], stat["size"], tar.extractfile("given").read())
say("diff", box.diff())
exported = b"".join(box.export())
with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
    say("export", "tmp/given" in tar.getnames())
image = box.commit("sdkimage", "1", message="made", author="me", changes=["ENV B=2"])
say("commit", image.tags, "B=2" in image.attrs["Config"]["Env"], image.attrs["Comment"], image.attrs["Author"])
say("history", [one["Comment"] for one in image.history()])
saved = b"".join(image.save(named=True))
client.images.remove("sdkimage:1")
say("loaded", [one.tags for one in client.images.load(saved)])
client.images.remove("sdkimage:1")
say("pruned", client.images.prune(filters={"dangling": True})["ImagesDeleted"])
say("update", box.update(mem_limit="64m", memswap_limit="64m")["Warnings"])
stats = box.stats(stream=False)
say("stats", stats["name"], stats["memory_stats"]["usage"] > 0, stats["pids_stats"]["current"])
say("stats stream", next(box.stats(decode=True))["name"])
code, sock = box.exec_run(["sh", "-c", "stty size; read x; echo got $x"], tty=True, stdin=True, socket=True)
sock._sock.sendall(b"typed\n")
data = b""
while chunk := sock.read(4096):
    data += chunk
say("tty", data.replace(b"\r", b"").split(b"\n")[-2])
code, output = box.exec_run(["sh", "-c", "pwd; id -u; echo $B"], user="1000", workdir="/tmp", environment={"B": "2"})
say("options", code, output)
say("missing", box.exec_run("nosuch").exit_code)
say("chunks", b"".join(box.exec_run(["sh", "-c", "echo one; sleep 0.3; echo two"], stream=True).output))
pairs = list(box.exec_run(["sh", "-c", "echo o; sleep 0.3; echo e >&2"], stream=True, demux=True).output)
say("pairs", b"".join(out for out, _ in pairs if out), b"".join(err for _, err in pairs if err))
second = client.networks.create("sdknet2")
second.connect(box, aliases=["alias"])
box.reload()
second.reload()
say("networks", sorted(box.attrs["NetworkSettings"]["Networks"]), [one.name for one in second.containers])
second.disconnect(box)
try:
    net.remove()
except docker.errors.APIError as error:
    say("in use", error.status_code)
second.remove()
box.stop(timeout=10)
say("stopped", box.wait(condition="not-running")["StatusCode"])
box.remove()
say("networks pruned", client.networks.prune(filters={"label": "a=b"})["NetworksDeleted"])

kept = client.volumes.create("sdkkept", driver="local", labels={"a": "b"})
say("volumes pruned", client.volumes.prune(filters={"all": True, "label": "a=b"})["VolumesDeleted"])

low = docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="auto", timeout=30)
say("low", low.ping(), [one["RepoTags"] for one in low.images()], low.version()["Os"])
made = low.create_container(
    "bb:1",
    ["sh", "-c", "read x; echo got $x; echo err >&2; exit 5"],
    stdin_open=True,
    name="low",
    host_config=low.create_host_config(binds=["lowvol:/data"], init=True, ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=64)]),
)["Id"]
sock = low.attach_socket(made, params={"stdin": 1, "stdout": 1, "stream": 1})
low.start(made)
sock._sock.sendall(b"this\n")
data = b""
while chunk := sock.read(4096):
    data += chunk
say("low attach", framed(data))
say("low wait", low.wait(made)["StatusCode"], low.wait(made, condition="not-running")["StatusCode"])
say("low logs", low.logs(made, stderr=False), low.logs(made, stdout=False))
say("low inspect", low.inspect_container(made)["State"]["ExitCode"], low.containers(all=True, filters={"name": "low"})[0]["Names"])
removal = low.create_container("bb:1", ["sleep", "5"], name="low2", host_config=low.create_host_config(auto_remove=True))["Id"]
low.start(removal)
say("low removed", low.wait(removal, condition="removed")["StatusCode"])
low.remove_container(made, v=True, force=True)
low.remove_volume("lowvol")
try:
    low.exec_inspect("nosuch")
except docker.errors.NotFound as error:
    say("low exec", error.explanation)
try:
    low.create_container("bb:1", ["true"], name="bad name")
except docker.errors.APIError as error:
    say("low bad", error.status_code, error.is_client_error())
say("lines", [line for line in client.containers.run("bb:1", "seq 3", stream=True, remove=True)])
say("df", sorted(client.df()))
low.close()
client.close()
