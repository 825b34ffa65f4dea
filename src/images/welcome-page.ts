/** What the welcome image serves: one page, its style, and a small program that tells which container answered. */

export const welcomePage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>It runs on Berth</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
  <p class="mark" aria-hidden="true"><span></span><span></span><span></span></p>
  <h1>Your first container is up</h1>
  <p class="lead">This page is served from a container that Berth runs on your machine. Berth speaks Docker's language:
  the docker command, Compose files and images you have work as they are.</p>
  <dl id="facts">
    <div><dt>Container</dt><dd data-fact="hostname">&hellip;</dd></div>
    <div><dt>Running for</dt><dd data-fact="uptime">&hellip;</dd></div>
    <div><dt>Memory limit</dt><dd data-fact="memory">&hellip;</dd></div>
    <div><dt>Kernel</dt><dd data-fact="kernel">&hellip;</dd></div>
  </dl>
  <h2>Try next</h2>
  <ol>
    <li><p>See what runs</p><pre>docker ps</pre></li>
    <li><p>Look around inside</p><pre>docker exec -it <b data-fact="hostname">CONTAINER</b> sh</pre></li>
    <li><p>A second one, with a limit; reload its page and compare</p><pre>docker run -d -m 64m -p 8081:80 berth/welcome</pre></li>
    <li><p>Your own files in its place</p><pre>docker run -d -p 8082:80 -v "$PWD":/www:ro berth/welcome</pre></li>
    <li><p>Restart the engine: this page stays up, because containers do not depend on it</p></li>
  </ol>
  <footer>The image is BusyBox from Debian and three small files. It was put together on this machine; nothing was pulled.</footer>
</main>
<script>
  fetch('cgi-bin/status').then((answer) => answer.json()).then((facts) => {
    for (const place of document.querySelectorAll('[data-fact]')) {
      const fact = facts[place.dataset.fact];
      if (fact) place.textContent = fact;
    }
  }).catch(() => { document.getElementById('facts').hidden = true; });
</script>
</body>
</html>
`;

export const welcomeStyle = `:root { color-scheme: light dark; --ink: #14232e; --dim: #51636f; --paper: #f6f8f9; --card: #fff; --line: #d9e1e6; --sea: #0b6e8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eef2; --dim: #9fb1bc; --paper: #0f181e; --card: #16222a; --line: #263640; --sea: #5cc3de; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: 3.5rem 1.25rem; }
.mark { display: flex; gap: .3rem; margin: 0 0 1.5rem; }
.mark span { width: 2.2rem; height: 1.4rem; background: var(--sea); border-radius: .2rem; }
.mark span:nth-child(2) { opacity: .7; } .mark span:nth-child(3) { opacity: .4; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .75rem; letter-spacing: -.02em; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.lead { color: var(--dim); margin: 0 0 2rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 0; }
dl[hidden] { display: none; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem .9rem; }
dt { color: var(--dim); font-size: .82rem; } dd { margin: .1rem 0 0; font-weight: 600; overflow-wrap: anywhere; }
ol { padding-left: 1.2rem; margin: 0; } li { margin: 0 0 1rem; } li p { margin: 0 0 .3rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin: 0; overflow-x: auto; font: 14px/1.5 ui-monospace, monospace; }
pre b { color: var(--sea); font-weight: inherit; }
footer { color: var(--dim); font-size: .85rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
`;

/** A CGI program for BusyBox's httpd and shell. Reads what the kernel says about the container; writes JSON. */
export const statusProgram = `#!/bin/sh
plain() { tr -cd 'A-Za-z0-9 ._:-' | head -c 200; }

limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)
case "$limit" in
  '' | max) memory='none' ;;
  # cgroup v1 says "none" by a number that no machine has.
  ????????????????*) memory='none' ;;
  *) memory="$((limit / 1048576)) MiB" ;;
esac

now=$(cut -d. -f1 /proc/uptime)
# Field 22, counted behind the name in brackets, which may have blanks in it.
begun=$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)
up=$((now - begun / 100))
[ "$up" -lt 0 ] && up=0
if [ "$up" -ge 3600 ]; then uptime="$((up / 3600)) h $((up % 3600 / 60)) min"
elif [ "$up" -ge 60 ]; then uptime="$((up / 60)) min $((up % 60)) s"
else uptime="$up s"; fi

printf 'Content-Type: application/json\\r\\nCache-Control: no-store\\r\\n\\r\\n'
printf '{"hostname":"%s","memory":"%s","uptime":"%s","kernel":"%s"}\\n' \\
  "$(hostname | plain)" "$memory" "$uptime" "$(uname -r | plain)"
`;
