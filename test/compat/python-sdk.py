"""An everyday use of the Docker SDK for Python; prints what happened, a line each, for the test to compare."""

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
say("volume", volume.name, volume.attrs["Labels"], [one.name for one in client.volumes.list(filters={"name": "sdk"})])
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
client.close()
