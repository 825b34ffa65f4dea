/*
 * The monitor: one small process for each container and each exec session. It starts the OCI runtime, owns the
 * process's stdio, log and exit status, and outlives the engine (docs/decisions/monitor.md).
 *
 *   monitor key=value... -- runtime argument...
 *
 * Descriptors at start: 0-2 /dev/null, 3 the engine's control connection, 4 a listening unix socket in `dir`, 5.. one
 * stream for each entry of `attach`, two where it has a `d`: the engine's stream, which brings what the client sent so far
 * and is closed when the client is done with, and the client's own connection, of which the engine keeps a copy. Then the
 * runtime's program when `program` names its descriptor. Control lines to the engine are JSON, one object a line: started, failed, exit,
 * and swept at the very end, when every directory given as `cgroup` is gone.
 * Lines from the engine: `resize ROWS COLUMNS`, `abort` (while starting).
 * A connection to the socket begins with `control\n`, `attach [i][o][e]\n` or `follow\n`; the last two are answered by one
 * `+`. While somebody follows, some files that the log's rotation would remove are kept for him. `packed INODE\n` puts the
 * file `LOG.packed` in the place of the rotated file with that inode, `drop INODE\n` removes it: `+` when it was there, `-`
 * when not, and the connection ends.
 *
 * Linux and libc only. Must compile with tcc and gcc; no stdio streams and no malloc, because there are hundreds of these.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h> /* rename only */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  CONTROL_FD = 3,
  LISTEN_FD = 4,
  ATTACH_FD = 5,
  CHUNK = 65536,
  WIDE = 4 * CHUNK,      /* of pipes that were seen full */
  HEADER = 8,
  LINE = 16384,          /* Docker splits longer lines */
  LOG_BUFFER = 131072,   /* more than one line of LINE bytes that all need six-byte escapes */
  MAX_CLIENTS = 256,
  PENDING_LIMIT = 1 << 20,
  QUIET_MS = 100,        /* how long a pipe that outsiders hold open must be silent after the exit */
  DRAIN_MS = 2000,       /* the exit is told by then, whatever holds the pipes */
  MAX_FOLLOWERS = 64,    /* the rest of MAX_CLIENTS is for others */
  KEPT_BYTES = 4 << 20,  /* of a log that somebody follows, beyond what it may keep, */
  KEPT_FILES = 128,      /* in no more files than that */
  HUNG_MS = 50,
  IDLE_MS = 1000
};

enum state { STARTING, RUNNING, EXITED, DONE };
enum kind { HELLO, CONTROL, STREAM, FOLLOWER };

struct client {
  int fd, link; /* link: the engine's stream, when fd is the client's own connection; else -1 */
  unsigned char kind, in, streams; /* streams: bit 0 stdout, bit 1 stderr */
  unsigned char early; /* the input still comes from the link */
  unsigned char in_ended, out_dead, gone; /* gone: closed by its other side, maybe with input left to read */
  unsigned char line_length;
  char line[61];
  char *pending;
  uint32_t offset, length, capacity;
  uint32_t spliced; /* behind `pending`: bytes in the pipe `held` */
};

struct line {
  char *bytes;
  uint32_t length;
  int continues; /* the last piece had no newline, the next one keeps its time */
  struct timespec since;
};

static struct {
  const char *id, *pid_file, *log, *oom;
  int stdin_mode; /* 0 none, 1 open, 2 once */
  int tty, rows, columns, exit_file;
  int no_null; /* crun gives its descriptors to root of the user namespace, and /dev/null is the host's own */
  char **cgroups; /* the arguments `cgroup=...`, which come one after the other */
  int cgroup_count;
  int program; /* a descriptor of the runtime, or 0: by its path */
  long long log_size;
  int log_files;
  const char *log_attrs; /* `,"attrs":{...}`, not longer than what LOG_BUFFER has beside a line */
  size_t log_attrs_length;
} option;

static enum state state;
static int listening = LISTEN_FD, signals = -1, input = -1, console = -1;
static int stranger = -1; /* a pidfd of the process, when it is not our child */
static int64_t stranger_ms; /* when that told that it has ended, and nobody yet how */
static int output[2] = {-1, -1}; /* a terminal's master is output[0] and input */
static int held[2] = {-1, -1};   /* output on its way to a client without a copy of it here */
static int stdin_full, no_splice;
static pid_t runtime_pid, pid;
static int exit_code, oom_killed, told, failed; /* failed: it was never started */
static char started_at[40], exited_at[40], ticks[24];
static int64_t exited_ms, last_output_ms;

static struct client clients[MAX_CLIENTS];
static int client_count, followers;

static char *chunk, *stdin_bytes, *log_bytes;
static uint32_t stdin_offset, stdin_length, log_length;
static struct line lines[2];
static int log_fd = -1;
static long long log_at;
static unsigned long long log_dropped;
static int memory_used;

/* ---- small things ---- */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char *put(char *to, const char *text) {
  while (*text) *to++ = *text++;
  return to;
}

#define PUT(to, text) (memcpy(to, text, sizeof text - 1), (to) += sizeof text - 1)

static char *put_number(char *to, unsigned long long value, int width) {
  char digits[24];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10), value /= 10;
  while (value || n < width);
  while (n) *to++ = digits[--n];
  return to;
}

/* RFC 3339 in UTC with nine digits. Not by gmtime, which reads time zone files and allocates. */
static char *put_time(char *to, const struct timespec *t) {
  static time_t second = -1;
  static char date[21];
  if (t->tv_sec != second) {
    /* Days since 1970 to a date, in years that begin in March. */
    long days = (long)(t->tv_sec / 86400) + 719468, rest = (long)(t->tv_sec % 86400);
    long era = days / 146097, day = days % 146097;
    long year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    long month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    year += era * 400 + (month >= 10);
    char *p = put_number(date, (unsigned long)year, 4);
    *p++ = '-';
    p = put_number(p, (unsigned long)(month < 10 ? month + 3 : month - 9), 2);
    *p++ = '-';
    p = put_number(p, (unsigned long)day + 1, 2);
    *p++ = 'T';
    p = put_number(p, (unsigned long)rest / 3600, 2);
    *p++ = ':';
    p = put_number(p, (unsigned long)rest / 60 % 60, 2);
    *p++ = ':';
    p = put_number(p, (unsigned long)rest % 60, 2);
    *p++ = '.';
    *p = 0;
    second = t->tv_sec;
  }
  to = put(to, date);
  to = put_number(to, (unsigned long long)t->tv_nsec, 9);
  *to++ = 'Z';
  return to;
}

static void stamp(char *to) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  *put_time(to, &t) = 0;
}

static long read_file(const char *path, char *to, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return -1;
  size_t n = 0;
  while (n < size - 1) {
    ssize_t got = read(fd, to + n, size - 1 - n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    n += (size_t)got;
  }
  close(fd);
  to[n] = 0;
  return (long)n;
}

static void shut(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* ---- JSON as Go's encoder writes it ---- */

/* The length of the valid UTF-8 sequence at p, or 0. */
static int utf8_length(const unsigned char *p, size_t n) {
  unsigned char c = p[0];
  int length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  unsigned char low = 0x80, high = 0xbf;
  if (c < 0xc2 || c > 0xf4 || (size_t)length > n) return 0;
  if (c == 0xe0) low = 0xa0;
  else if (c == 0xed) high = 0x9f; /* no surrogates */
  else if (c == 0xf0) low = 0x90;
  else if (c == 0xf4) high = 0x8f;
  if (p[1] < low || p[1] > high) return 0;
  for (int i = 2; i < length; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  return length;
}

/* What each byte becomes that does not begin a valid sequence; with its length in the last place. */
static char escapes[256][8];

static void make_escapes(void) {
  static const char hex[] = "0123456789abcdef";
  for (int c = 0; c < 256; c++) {
    char *e = escapes[c], *p = e;
    if (c >= 0x80) p = put(p, "\\ufffd");
    else if (c == '\n') p = put(p, "\\n");
    else if (c == '\r') p = put(p, "\\r");
    else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
      p = put(p, "\\u00");
      *p++ = hex[c >> 4];
      *p++ = hex[c & 15];
    } else {
      if (c == '"' || c == '\\') *p++ = '\\';
      *p++ = (char)c;
    }
    e[7] = (char)(p - e);
  }
}

/* Whether one of eight bytes may need more than to be copied. Sometimes yes where no would do. */
static int special(uint64_t v) {
  const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
  uint64_t a = (v | ones * 0x02) ^ ones * '>';  /* < and > */
  uint64_t b = (v | ones * 0x04) ^ ones * '&';  /* " and & */
  uint64_t c = v ^ ones * '\\';
  return ((v | (v - ones * 0x20) | (a - ones) | (b - ones) | (c - ones)) & tops) != 0;
}

/* At most six bytes for each byte of the text, and eight more are scribbled on. */
static char *put_json(char *to, const char *text, size_t n) {
  const unsigned char *p = (const unsigned char *)text, *end = p + n;
  if (!escapes[0][7]) make_escapes();
  while (p < end) {
    uint64_t eight;
    while (end - p >= 8) {
      memcpy(&eight, p, 8);
      if (special(eight)) break;
      memcpy(to, &eight, 8);
      to += 8;
      p += 8;
    }
    for (const unsigned char *stop = end - p > 8 ? p + 8 : end; p < stop;) {
      unsigned char c = *p;
      int length = c >= 0xc2 && c <= 0xf4 ? utf8_length(p, (size_t)(end - p)) : 0;
      if (length == 0) {
        memcpy(to, escapes[c], 8);
        to += escapes[c][7];
        p++;
      } else if (length == 3 && c == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) {
        to = put(to, p[2] == 0xa8 ? "\\u2028" : "\\u2029");
        p += 3;
      } else
        while (length--) *to++ = (char)*p++;
    }
  }
  return to;
}

/* ---- the log: Docker's json-file ---- */

static void log_open(int flags) {
  log_fd = open(option.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
  log_at = 0;
  struct stat st;
  if (log_fd >= 0 && fstat(log_fd, &st) == 0) log_at = st.st_size;
}

/* A full disk loses whole lines, which are counted; it never stops the container and never leaves half a line. */
static void log_flush(void) {
  if (!log_length) return;
  if (log_fd < 0) log_open(0);
  uint32_t done = 0;
  while (log_fd >= 0 && done < log_length) {
    ssize_t n = write(log_fd, log_bytes + done, log_length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (uint32_t)n;
  }
  uint32_t whole = done;
  if (done < log_length) {
    while (whole > 0 && log_bytes[whole - 1] != '\n') whole--;
    if (whole < done && ftruncate(log_fd, log_at + whole) < 0) whole = done;
    for (uint32_t i = whole; i < log_length; i++) log_dropped += log_bytes[i] == '\n';
  }
  log_at += whole;
  log_length = 0;
}

/* A file that was rotated away, or with `gz` what the engine made of it. */
static char *numbered(char *to, int n, int gz) {
  char *p = put(to, option.log);
  if (n) *p++ = '.', p = put_number(p, (unsigned)n, 1);
  if (gz) p = put(p, ".gz");
  *p = 0;
  return to;
}

static int log_remove(int n) {
  char path[4200];
  int plain = unlink(numbered(path, n, 0)), packed = unlink(numbered(path, n, 1));
  return plain == 0 || packed == 0;
}

/* How many files more there are while somebody follows: with short files a reader would have no time to open the next. */
static int log_kept(void) {
  if (option.log_size <= 0) return 0;
  long long fit = KEPT_BYTES / option.log_size;
  return fit < KEPT_FILES ? (int)fit : KEPT_FILES;
}

static void log_rotate(void) {
  char from[4200], to[4200];
  int files = option.log_files + (followers ? log_kept() : 0);
  log_flush();
  shut(&log_fd);
  /* Both forms move together: a file that is packed at this moment never meets another's number. */
  if (files > 1) log_remove(files - 1);
  for (int n = files - 1; n >= 1; n--)
    for (int gz = 0; gz < (n > 1 ? 2 : 1); gz++) rename(numbered(from, n - 1, gz), numbered(to, n, gz));
  log_open(files > 1 ? 0 : O_TRUNC);
}

/* Nobody follows any more: what was kept for it goes. */
static void log_trim(void) {
  int first = option.log_files > 1 ? option.log_files : 1, kept = log_kept();
  if (!option.log) return;
  /* In the middle of a rotation, where a monitor may have been killed, one number is missing. */
  for (int n = first, missing = 0; n < first + kept && missing < 2; n++) missing = log_remove(n) ? 0 : missing + 1;
}

/*
 * The engine names a rotated file by its inode, because by the time it is read here the number may be another's. It goes;
 * with `packed` what the engine made of it, complete and synced, takes its place. Returns whether the file was there.
 */
static int log_replace(unsigned long long inode, int packed) {
  char path[4200], from[4200], to[4200];
  int last = option.log_files + log_kept();
  if (!option.log) return 0;
  for (int n = 1; n < last; n++)
    for (int gz = 0; gz < (packed ? 1 : 2); gz++) {
      struct stat st;
      if (stat(numbered(path, n, gz), &st) < 0 || (unsigned long long)st.st_ino != inode) continue;
      if (packed) {
        put(put(from, option.log), ".packed")[0] = 0;
        if (rename(from, numbered(to, n, 1)) < 0) return 0;
      }
      return unlink(path) == 0;
    }
  return 0;
}

static void log_line(int stream, const char *text, size_t n, int newline) {
  struct line *line = &lines[stream];
  if (option.log_size && log_at + log_length >= option.log_size) log_rotate();
  if (LOG_BUFFER - log_length < n * 6 + 128 + option.log_attrs_length) log_flush();
  if (!line->continues) clock_gettime(CLOCK_REALTIME, &line->since);
  line->continues = !newline;
  char *p = log_bytes + log_length;
  PUT(p, "{\"log\":\"");
  p = put_json(p, text, n);
  if (newline) PUT(p, "\\n");
  if (stream) PUT(p, "\",\"stream\":\"stderr\"");
  else PUT(p, "\",\"stream\":\"stdout\"");
  if (option.log_attrs) p = put(p, option.log_attrs);
  PUT(p, ",\"time\":\"");
  p = put_time(p, &line->since);
  PUT(p, "\"}\n");
  log_length = (uint32_t)(p - log_bytes);
}

static void log_feed(int stream, const char *bytes, size_t n) {
  struct line *line = &lines[stream];
  while (n) {
    size_t room = LINE - line->length, most = n < room ? n : room;
    const char *newline = memchr(bytes, '\n', most);
    size_t take = newline ? (size_t)(newline - bytes) : most;
    if (line->length == 0 && (newline || take == LINE)) log_line(stream, bytes, take, newline != NULL);
    else {
      memcpy(line->bytes + line->length, bytes, take);
      line->length += (uint32_t)take;
      if (newline || line->length == LINE) {
        log_line(stream, line->bytes, line->length, newline != NULL);
        line->length = 0;
      }
    }
    if (newline) take++;
    bytes += take;
    n -= take;
  }
}

static void log_end(int stream) {
  if (option.log && lines[stream].length) log_line(stream, lines[stream].bytes, lines[stream].length, 0);
  lines[stream].length = 0;
  if (option.log) log_flush();
}

/* ---- clients ---- */

/* What is on its way to a client that is gone. */
static void client_discard(struct client *c) {
  if (!c->spliced) return;
  shut(&held[0]);
  shut(&held[1]);
  c->spliced = 0;
}

static void client_drop(int i) {
  struct client *c = &clients[i];
  close(c->fd);
  client_discard(c);
  if (c->link >= 0) {
    /* Closed with something unread it would be an error to the engine, and not the end. */
    shutdown(c->link, SHUT_WR);
    while (c->early && recv(c->link, chunk, CHUNK, MSG_DONTWAIT) > 0) {}
    close(c->link);
  }
  if (c->pending) munmap(c->pending, c->capacity);
  /* After the exit they are still to be read; the next start removes them. */
  if (c->kind == FOLLOWER && --followers == 0 && state == RUNNING) log_trim();
  clients[i] = clients[--client_count];
}

static struct client *client_add(int fd, enum kind kind) {
  for (int i = 0; i < client_count && client_count == MAX_CLIENTS; i++)
    if (clients[i].gone) client_drop(i);
  if (client_count == MAX_CLIENTS) {
    close(fd);
    return NULL;
  }
  struct client *c = &clients[client_count++];
  memset(c, 0, sizeof *c);
  c->fd = fd;
  c->link = -1;
  c->kind = (unsigned char)kind;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return c;
}

static void client_modes(struct client *c, const char *modes) {
  c->kind = STREAM;
  for (; *modes && *modes != ','; modes++) {
    if (*modes == 'i') c->in = 1;
    if (*modes == 'o') c->streams |= 1;
    if (*modes == 'e') c->streams |= 2;
  }
}

/* The client's connection is the next descriptor. */
static void client_direct(struct client *c) {
  c->link = c->fd++;
  c->early = 1;
  for (int fd = c->link; fd <= c->fd; fd++) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void client_keep(struct client *c, const char *bytes, uint32_t n) {
  if (c->offset + c->length + n > c->capacity) {
    uint32_t capacity = c->length + n + CHUNK;
    char *grown = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (grown == MAP_FAILED) {
      c->out_dead = 1;
      return;
    }
    if (c->pending) {
      memcpy(grown, c->pending + c->offset, c->length);
      munmap(c->pending, c->capacity);
    }
    c->pending = grown;
    c->capacity = capacity;
    c->offset = 0;
  }
  memcpy(c->pending + c->offset + c->length, bytes, n);
  c->length += n;
  memory_used = 1;
}

static void client_send(struct client *c, const char *bytes, uint32_t n) {
  if (c->out_dead) return;
  if (!c->length)
    while (n) {
      ssize_t sent = send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) break;
      if (sent < 0) {
        c->out_dead = 1;
        return;
      }
      bytes += sent;
      n -= (uint32_t)sent;
    }
  if (n) client_keep(c, bytes, n);
}

/* What is on its way without a copy is copied after all. */
static void client_unsplice(struct client *c) {
  if (!c->spliced) return;
  ssize_t n = read(held[0], chunk, CHUNK);
  if (n == (ssize_t)c->spliced) client_keep(c, chunk, (uint32_t)n);
  else {
    c->out_dead = 1;
    client_discard(c);
  }
  c->spliced = 0;
}

static void client_splice(struct client *c) {
  while (c->spliced && !c->length && !c->out_dead) {
    ssize_t sent = splice(held[0], NULL, c->fd, NULL, c->spliced, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) return;
    if (sent < 0 && errno == EINVAL) {
      no_splice = 1;
      client_unsplice(c);
      return;
    }
    if (sent <= 0) c->out_dead = 1;
    else c->spliced -= (uint32_t)sent;
  }
}

static void client_flush(struct client *c) {
  while (c->length && !c->out_dead) {
    ssize_t sent = send(c->fd, c->pending + c->offset, c->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) return;
    if (sent < 0) {
      c->out_dead = 1;
      break;
    }
    c->offset += (uint32_t)sent;
    c->length -= (uint32_t)sent;
  }
  c->length = c->offset = 0;
  client_splice(c);
}

/* Whether some client still has to take what it was given before more may be read. */
static int clients_full(void) {
  uint32_t limit = state >= EXITED ? PENDING_LIMIT : 0;
  for (int i = 0; i < client_count; i++)
    if (clients[i].kind == STREAM && !clients[i].out_dead && clients[i].length + clients[i].spliced > limit) return 1;
  return 0;
}

static void say(const char *text, size_t n) {
  for (int i = 0; i < client_count; i++)
    if (clients[i].kind == CONTROL) client_send(&clients[i], text, (uint32_t)n);
}

static size_t started_line(char *to) {
  char *p = put(to, "{\"started\":{\"pid\":");
  p = put_number(p, (unsigned)pid, 1);
  p = put(put(p, ",\"at\":\""), started_at);
  p = put(put(put(p, "\",\"ticks\":\""), ticks), "\"}}\n");
  return (size_t)(p - to);
}

static size_t exit_object(char *to) {
  char *p = put(to, "{\"code\":");
  p = put_number(p, (unsigned)exit_code, 1);
  p = put(p, oom_killed ? ",\"oom\":true,\"at\":\"" : ",\"oom\":false,\"at\":\"");
  p = put(put(p, exited_at), "\",\"dropped\":");
  p = put_number(p, log_dropped, 1);
  *p++ = '}';
  return (size_t)(p - to);
}

static void tell_exit(void) {
  char text[256], *p;
  if (told) return;
  told = 1;
  if (option.exit_file) {
    size_t n = exit_object(text);
    int fd = open("exit.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
      int whole = write(fd, text, n) == (ssize_t)n;
      close(fd);
      if (whole) rename("exit.tmp", "exit");
      else unlink("exit.tmp");
    }
  }
  p = put(text, "{\"exit\":");
  p += exit_object(p);
  p = put(p, "}\n");
  say(text, (size_t)(p - text));
}

/* ---- the start ---- */

static void tell_failure(int status) {
  char log[4096], stderr_text[2048], text[40000];
  long n = read_file("runtime.log", log, sizeof log), m = -1;
  if (output[1] >= 0) m = read(output[1], stderr_text, sizeof stderr_text);
  char *p = put(text, "{\"failed\":{\"status\":");
  p = put_number(p, (unsigned)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)), 1);
  p = put(p, ",\"log\":\"");
  if (n > 0) p = put_json(p, log, (size_t)n);
  p = put(p, "\",\"stderr\":\"");
  if (m > 0) p = put_json(p, stderr_text, (size_t)m);
  p = put(p, "\"}}\n");
  say(text, (size_t)(p - text));
}

static void start_runtime(char **argv) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  char path[64];
  if (option.tty) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "console"};
    console = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink("console");
    bind(console, (struct sockaddr *)&address, sizeof address);
    listen(console, 1);
    /* By way of /proc: a socket's path has at most 107 bytes. */
    char *p = put(path, "/proc/");
    p = put_number(p, (unsigned)getpid(), 1);
    *put(p, "/cwd/console") = 0;
    for (char **a = argv; *a; a++)
      if (strcmp(*a, "@console") == 0) *a = path;
  } else {
    if (option.stdin_mode && pipe2(in, O_CLOEXEC) < 0) _exit(70);
    if (pipe2(out, O_CLOEXEC) < 0) _exit(70);
  }
  if (pipe2(err, O_CLOEXEC) < 0) _exit(70);
  if (option.no_null && in[0] < 0) {
    /* At its end from the beginning. */
    if (pipe2(in, O_CLOEXEC) < 0) _exit(70);
    shut(&in[1]);
  }

  pid_t child = vfork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* a start that nobody watches must not come to life */
    dup2(in[0] >= 0 ? in[0] : null, 0);
    dup2(out[1] >= 0 ? out[1] : option.no_null ? err[1] : null, 1);
    dup2(err[1], 2);
    if (option.program) fexecve(option.program, argv, environ);
    execv(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
  }
  if (child < 0) _exit(70);
  runtime_pid = child;
  if (option.program) close(option.program);
  close(null);
  shut(&in[0]);
  shut(&out[1]);
  shut(&err[1]);
  input = in[1];
  output[0] = out[0];
  output[1] = err[0];
  for (int i = 0; i < 2; i++)
    if (output[i] >= 0) fcntl(output[i], F_SETFL, O_NONBLOCK);
  if (input >= 0) fcntl(input, F_SETFL, O_NONBLOCK);

  /* Only now: what was started above inherits the engine's, not this. */
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (write(fd, "-999", 4) < 0) { /* without the right to it the engine's stays */ }
    close(fd);
  }
}

static void resize(int rows, int columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  if (option.tty && input >= 0 && rows > 0 && columns > 0) ioctl(input, TIOCSWINSZ, &size);
}

/* The terminal's master, sent by the runtime. */
static int take_console(void) {
  char byte[64], space[CMSG_SPACE(sizeof(int) * 4)];
  struct iovec vector = {byte, sizeof byte};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  if (console < 0) return -1;
  int fd = accept4(console, NULL, NULL, SOCK_CLOEXEC), master = -1;
  if (fd < 0) return -1;
  struct timeval patience = {5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) > 0)
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) memcpy(&master, CMSG_DATA(c), sizeof master);
  close(fd);
  shut(&console);
  unlink("console");
  if (master < 0) return -1;
  fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
  output[0] = input = master;
  resize(option.rows, option.columns);
  return 0;
}

/* Field 22 of the process's stat: with the pid it names one process for ever (of this boot). */
static void read_ticks(void) {
  char path[32], text[1024];
  char *p = put_number(put(path, "/proc/"), (unsigned)pid, 1);
  *put(p, "/stat") = 0;
  ticks[0] = '0';
  if (read_file(path, text, sizeof text) <= 0) return;
  char *field = strrchr(text, ')');
  for (int n = 2; field && n < 22; n++) field = strchr(field + 1, ' ');
  if (!field) return;
  size_t n = strspn(field + 1, "0123456789");
  if (n == 0 || n >= sizeof ticks) return;
  memcpy(ticks, field + 1, n);
  ticks[n] = 0;
}

static void runtime_ended(int status) {
  char text[256];
  runtime_pid = 0;
  if (option.tty && input < 0) take_console();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && read_file(option.pid_file, text, sizeof text) > 0)
    pid = (pid_t)atoi(text);
  if (pid <= 1 || (option.tty && input < 0)) {
    tell_failure(status);
    state = DONE;
    told = failed = 1;
    shut(&output[0]);
    shut(&output[1]);
    return;
  }
  stamp(started_at);
  read_ticks();
  state = RUNNING;
  if (option.tty) {
    shut(&output[1]); /* was the runtime's own stderr */
    resize(option.rows, option.columns); /* the runtime may have set what the spec says after a client asked for more */
  }
  unlink("runtime.log");
  say(text, started_line(text));
}

/* ---- the exit ---- */

static int count_oom_kills(void) {
  char text[4096];
  if (!option.oom || read_file(option.oom, text, sizeof text) <= 0) return 0;
  for (char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
    if (strncmp(p, "oom_kill ", 9) == 0) return atoi(p + 9);
  return 0;
}

static void ended(int code) {
  exit_code = code;
  stamp(exited_at);
  oom_killed = count_oom_kills() > 0;
  exited_ms = last_output_ms = now_ms();
  state = EXITED;
  for (int i = 0; i < client_count; i++) client_unsplice(&clients[i]); /* more may have to be kept for it */
  shut(&stranger);
  stranger_ms = 0;
  if (!option.tty) {
    shut(&input);
    stdin_length = 0;
    stdin_full = 0;
  }
}

/*
 * A runtime may have waited for the process itself, or have had it started by somebody else: then nobody tells us its
 * status, but it must not be waited for for ever. Its exit code is 255, as that of a process whose monitor was killed.
 */
static void watch_stranger(void) {
  siginfo_t info;
  if (state != RUNNING || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD) return;
  stranger = (int)syscall(434 /* pidfd_open */, pid, 0);
  if (stranger < 0 && errno == ESRCH) ended(255);
}

static void reap(void) {
  int status;
  if (runtime_pid) {
    if (waitpid(runtime_pid, &status, WNOHANG) != runtime_pid) return;
    runtime_ended(status);
    watch_stranger();
  }
  for (;;) {
    pid_t who = waitpid(-1, &status, WNOHANG);
    if (who < 0 && errno == EINTR) continue;
    if (who <= 0) return;
    if (who == pid && state == RUNNING) ended(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

/*
 * It may have been ours for long: of a runtime that ends in two steps, the second leaves it to us. Then the pidfd tells a
 * moment before SIGCHLD does, or it is left to us only now, as a zombie with its status.
 */
static void stranger_ended(void) {
  reap();
  if (state != RUNNING) return;
  if (!stranger_ms) stranger_ms = now_ms();
  if (kill(pid, 0) < 0 || now_ms() - stranger_ms >= DRAIN_MS) ended(255);
}

/* ---- moving bytes ---- */

/* A pipe that was full once: fewer turns for the same bytes. Its memory is only there while there is something in it. */
static void widen(int pipe) {
  if (fcntl(pipe, F_GETPIPE_SZ) == CHUNK) fcntl(pipe, F_SETPIPE_SZ, WIDE);
}

static void output_end(int stream) {
  if (option.tty && stream == 0) input = -1;
  shut(&output[stream]);
  log_end(stream);
}

static void put_header(int stream, uint32_t n) {
  unsigned char *h = (unsigned char *)chunk;
  memset(h, 0, HEADER);
  h[0] = (unsigned char)(stream + 1);
  h[4] = (unsigned char)(n >> 24);
  h[5] = (unsigned char)(n >> 16);
  h[6] = (unsigned char)(n >> 8);
  h[7] = (unsigned char)n;
}

/* Who alone gets all of what a stream says, so that nothing of it has to be seen here. */
static struct client *only_reader(int stream) {
  struct client *only = NULL;
  if (option.tty || option.log || no_splice || state != RUNNING) return NULL;
  for (int i = 0; i < client_count; i++) {
    struct client *c = &clients[i];
    if (c->out_dead) client_discard(c);
    if (c->spliced) return NULL;
    if (c->kind != STREAM || c->out_dead || !(c->streams & (1 << stream))) continue;
    if (only || c->length) return NULL;
    only = c;
  }
  return only;
}

/* From the pipe to the client, page by page. Returns 0 when it has to be copied. */
static int splice_output(int stream) {
  struct client *c = only_reader(stream);
  if (!c || (held[0] < 0 && pipe2(held, O_CLOEXEC | O_NONBLOCK) < 0)) return 0;
  /* By way of a pipe of our own: how long the frame is must be known before, and the process could read its pipe too. */
  ssize_t n = splice(output[stream], NULL, held[1], NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n < 0 && errno == EINVAL) no_splice = 1;
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  last_output_ms = now_ms();
  put_header(stream, (uint32_t)n);
  client_send(c, chunk, HEADER);
  c->spliced = (uint32_t)n;
  client_splice(c);
  if (n == CHUNK) widen(output[stream]);
  return 1;
}

static void pump_output(int stream) {
  uint32_t header = option.tty ? 0 : HEADER;
  if (splice_output(stream)) return;
  ssize_t n = read(output[stream], chunk + HEADER, CHUNK);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) { /* a terminal's master says EIO when nobody holds the other side */
    output_end(stream);
    return;
  }
  last_output_ms = now_ms();
  if (n > 4096) memory_used = 1;
  put_header(stream, (uint32_t)n);
  for (int i = 0; i < client_count; i++)
    if (clients[i].kind == STREAM && (clients[i].streams & (1 << stream)))
      client_send(&clients[i], chunk + HEADER - header, (uint32_t)n + header);
  if (option.log) {
    log_feed(stream, chunk + HEADER, (size_t)n);
    /* Less than was asked for: the pipe is empty and nobody should wait for what is buffered. */
    if (n < CHUNK || log_length > LOG_BUFFER / 2) log_flush();
  }
}

static void stdin_flush(void) {
  while (stdin_length && input >= 0) {
    ssize_t n = write(input, stdin_bytes + stdin_offset, stdin_length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      if (!option.tty) shut(&input); /* nobody reads it any more; what clients send is thrown away */
      break;
    }
    stdin_offset += (uint32_t)n;
    stdin_length -= (uint32_t)n;
  }
  stdin_length = stdin_offset = 0;
}

static int stdin_ending; /* close after what is buffered was written */

static void stdin_end(void) {
  if (option.tty || option.stdin_mode != 2) return;
  stdin_ending = 1;
  if (!stdin_length) shut(&input);
}

static void command(struct client *c, char *line) {
  (void)c;
  if (strncmp(line, "resize ", 7) == 0) {
    char *next;
    long rows = strtol(line + 7, &next, 10), columns = strtol(next, NULL, 10);
    option.rows = (int)rows;
    option.columns = (int)columns;
    resize(option.rows, option.columns);
  } else if (strcmp(line, "abort") == 0 && runtime_pid) kill(runtime_pid, SIGKILL);
 
}

/*
 * When a client with stdin was closed as a whole. Was it the client, then stdin ends; was it an engine that died, then
 * nobody meant to end anything, and its control connection goes in the same moment, before or after. A client with a
 * connection of its own may also leave because the engine has gone.
 */
static int64_t hung_ms;

static int engine_there(void) {
  char byte;
  for (int i = 0; i < client_count; i++)
    if (clients[i].kind == CONTROL && recv(clients[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) return 1;
  return 0;
}

/* `hung` when the other side is closed as a whole. Returns 0 when the client is to be dropped. */
static int client_read(struct client *c, int hung) {
  if (c->kind == HELLO) {
    char line[64];
    ssize_t n = recv(c->fd, line, sizeof line - 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    char *end = memchr(line, '\n', (size_t)n);
    if (n == 0 || (!end && n == sizeof line - 1)) return 0;
    if (!end) return 1; /* half a line; the rest is on its way */
    recv(c->fd, line, (size_t)(end - line) + 1, MSG_DONTWAIT);
    *end = 0;
    if (strcmp(line, "control") == 0) {
      char text[256];
      c->kind = CONTROL;
      if (state == RUNNING || state == EXITED) client_send(c, text, (uint32_t)started_line(text));
    } else if (strncmp(line, "attach ", 7) == 0) {
      client_modes(c, line + 7);
      client_send(c, "+", 1);
    } else if (strcmp(line, "follow") == 0 && followers < MAX_FOLLOWERS) {
      c->kind = FOLLOWER;
      followers++;
      client_send(c, "+", 1);
    } else if (strncmp(line, "packed ", 7) == 0 || strncmp(line, "drop ", 5) == 0) {
      int packed = line[0] == 'p';
      client_send(c, log_replace(strtoull(line + (packed ? 7 : 5), NULL, 10), packed) ? "+" : "-", 1);
      return 0;
    } else return 0;
    return 1;
  }
  if (c->kind == FOLLOWER) { /* has nothing to say but that it goes */
    char word[16];
    ssize_t n = recv(c->fd, word, sizeof word, MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
  }
  if (c->kind == CONTROL) {
    ssize_t n = recv(c->fd, c->line + c->line_length, sizeof c->line - 1 - c->line_length, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return 0;
    c->line_length += (unsigned char)n;
    for (;;) {
      char *end = memchr(c->line, '\n', c->line_length);
      if (!end) return c->line_length < sizeof c->line - 1;
      *end = 0;
      command(c, c->line);
      c->line_length -= (unsigned char)(end + 1 - c->line);
      memmove(c->line, end + 1, c->line_length);
    }
  }
  ssize_t n;
  if (c->in && !c->early && input >= 0 && !option.tty && !no_splice) {
    n = splice(c->fd, NULL, input, NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) return 1;
    if (n < 0 && errno == EAGAIN) {
      /* There is something to read, so it is the pipe that has no room. */
      stdin_full = 1;
      widen(input);
      return 1;
    }
    if (n < 0 && errno == EINTR) return 1;
    if (n < 0 && errno == EPIPE) shut(&input);
    else if (n < 0 && errno == EINVAL) no_splice = 1;
  }
  n = recv(c->early ? c->link : c->fd, stdin_bytes, CHUNK, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
  if (n <= 0 && c->early) {
    c->early = 0;
    return 1;
  }
  if (n < 0) return 0;
  if (n == 0) {
    c->in_ended = 1;
    if (c->in && hung) hung_ms = now_ms();
    else if (c->in) stdin_end();
    return 1;
  }
  if (n > 4096) memory_used = 1;
  if (!c->in || input < 0) return 1;
  stdin_length = (uint32_t)n;
  stdin_offset = 0;
  stdin_flush();
  return 1;
}

static void accept_client(void) {
  struct ucred who;
  socklen_t size = sizeof who;
  int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || (who.uid != 0 && who.uid != geteuid())) close(fd);
  else client_add(fd, HELLO);
}

static void read_options(int argc, char **argv, int *command_at) {
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
    char *value = strchr(argv[at], '=');
    if (!value) _exit(64);
    size_t n = (size_t)(value++ - argv[at]);
    char *next;
#define IS(name) (n == sizeof name - 1 && memcmp(argv[at], name, sizeof name - 1) == 0)
    if (IS("id")) option.id = value;
    else if (IS("dir")) {
      if (chdir(value) < 0) _exit(66);
    } else if (IS("pid")) option.pid_file = value;
    else if (IS("stdin")) option.stdin_mode = strcmp(value, "once") == 0 ? 2 : strcmp(value, "open") == 0;
    else if (IS("tty")) option.tty = *value == '1';
    else if (IS("no-null")) option.no_null = *value == '1';
    else if (IS("size")) {
      option.rows = (int)strtol(value, &next, 10);
      option.columns = *next ? atoi(next + 1) : 0;
    } else if (IS("log")) {
      if (strlen(value) < 4096) option.log = value;
    } else if (IS("log-size")) option.log_size = atoll(value);
    else if (IS("log-attrs")) {
      option.log_attrs = value;
      option.log_attrs_length = strlen(value);
    } else if (IS("log-files")) option.log_files = atoi(value);
    else if (IS("oom")) option.oom = value;
    else if (IS("exit")) option.exit_file = *value == '1';
    else if (IS("program")) option.program = atoi(value);
    else if (IS("cgroup")) {
      if (!option.cgroups) option.cgroups = argv + at;
      option.cgroup_count++;
    }
    else if (IS("attach"))
      for (int fd = ATTACH_FD; value && *value; fd++) {
        struct client *c = client_add(fd, STREAM);
        next = strchr(value, ',');
        if (c) client_modes(c, value);
        for (; *value && *value != ','; value++)
          if (*value == 'd') {
            if (c) client_direct(c);
            fd++;
          }
        value = next ? next + 1 : NULL;
      }
  }
  *command_at = at + 1;
  if (at + 1 >= argc || !option.pid_file) _exit(64);
}

/* What is after the last descriptor we were given is not ours. */
static void close_others(void) {
  int first = ATTACH_FD;
  for (int i = 0; i < client_count; i++)
    if (clients[i].fd >= first) first = clients[i].fd + 1;
  if (option.program >= first) first = option.program + 1;
  for (int fd = CONTROL_FD; fd < first; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (syscall(436 /* close_range */, first, ~0U, 0) < 0)
    for (int fd = first; fd < 65536; fd++) close(fd);
}

static void buffers(void) {
  size_t size = CHUNK + 4096 + CHUNK + LOG_BUFFER + 2 * LINE;
  char *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) _exit(71);
  lines[0].bytes = all; /* first, so that the rest can be given back in one call */
  lines[1].bytes = all + LINE;
  stdin_bytes = all + 2 * LINE;
  log_bytes = stdin_bytes + CHUNK;
  chunk = log_bytes + LOG_BUFFER;
}

/* Pages of an idle monitor go back to the kernel. */
static void give_back(void) {
  memory_used = 0;
  if (!lines[0].length) madvise(lines[0].bytes, LINE, MADV_DONTNEED);
  if (!lines[1].length) madvise(lines[1].bytes, LINE, MADV_DONTNEED);
  if (!stdin_length) madvise(stdin_bytes, CHUNK, MADV_DONTNEED);
  madvise(log_bytes, LOG_BUFFER, MADV_DONTNEED);
  madvise(chunk, CHUNK + 4096, MADV_DONTNEED);
  for (int i = 0; i < client_count; i++)
    if (clients[i].pending && !clients[i].length) {
      munmap(clients[i].pending, clients[i].capacity);
      clients[i].pending = NULL;
      clients[i].capacity = clients[i].offset = 0;
    }
}

/*
 * Here and not in the engine, for which a dozen hierarchies are a dozen calls on its main loop. What is not empty stays,
 * and nothing is said: then the engine does it, by force.
 */
static void sweep_cgroups(void) {
  int gone = option.cgroup_count > 0;
  for (int i = 0; i < option.cgroup_count; i++)
    if (rmdir(option.cgroups[i] + sizeof "cgroup=" - 1) < 0 && errno != ENOENT) gone = 0;
  if (gone) say("{\"swept\":true}\n", sizeof "{\"swept\":true}\n" - 1);
}

/* Whether the other side is closed as a whole. */
static int is_hung(int fd) {
  struct pollfd polled = {fd, 0, 0};
  return poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP);
}

/*
 * After the output has ended: each client is closed once it has everything, the engine last. Returns how many have not.
 */
static int finish_clients(void) {
  int left = 0;
  for (int i = client_count - 1; i >= 0; i--) {
    struct client *c = &clients[i];
    if ((c->length || c->spliced) && !c->out_dead) {
      left++;
      continue;
    }
    if (c->kind == CONTROL && !c->out_dead) continue;
    /*
     * A client's own connection is ended by the engine, which may have to know the exit first. After a start that failed the
     * engine lets go of the link at once, and has yet to tell the client why.
     */
    if (c->kind == STREAM && !c->out_dead && (c->link < 0 || (!failed && is_hung(c->link)))) shutdown(c->fd, SHUT_WR);
    client_drop(i);
  }
  return left;
}

static void serve(void) {
  static struct pollfd polled[2 * MAX_CLIENTS + 7];
  for (;;) {
    int64_t now = now_ms();
    int drained = output[0] < 0 && output[1] < 0;
    if (state == EXITED && !drained && now - last_output_ms >= QUIET_MS && !clients_full()) {
      output_end(0);
      if (output[1] >= 0) output_end(1);
      drained = 1;
    }
    if (state == EXITED && (drained || now - exited_ms >= DRAIN_MS)) tell_exit();
    if (state == EXITED && drained) state = DONE;
    if (state == DONE && listening >= 0) {
      unlink("monitor.sock"); /* from here on the exit file answers */
      shut(&listening);
    }
    if (state == DONE && finish_clients() == 0) {
      sweep_cgroups();
      return;
    }

    if (stranger_ms && state == RUNNING) {
      stranger_ended();
      if (state != RUNNING) continue;
    }
    if (hung_ms && now - hung_ms >= HUNG_MS) {
      hung_ms = 0;
      if (engine_there()) stdin_end();
    }

    int full = clients_full(), n = 7;
    int reading = (state == RUNNING || state == EXITED) && !full;
    int taking_stdin = !stdin_length && !(stdin_full && input >= 0) && state != STARTING;
    struct pollfd fixed[7] = {
        {signals, POLLIN, 0},
        {listening, POLLIN, 0},
        {stdin_length || stdin_full ? input : -1, POLLOUT, 0},
        {reading ? output[0] : -1, POLLIN, 0},
        {reading ? output[1] : -1, POLLIN, 0},
        {console, POLLIN, 0},
        {stranger_ms ? -1 : stranger, POLLIN, 0},
    };
    memcpy(polled, fixed, sizeof fixed);
    int count = client_count;
    for (int i = 0; i < count; i++, n++) {
      struct client *c = &clients[i];
      short events = 0;
      if (c->kind != STREAM || (!c->in_ended && taking_stdin)) events = POLLIN;
      if (c->kind == STREAM && !c->in_ended && !c->in) events = POLLIN; /* to see it go */
      polled[n + count].fd = c->early && events ? c->link : -1;
      polled[n + count].events = POLLIN;
      polled[n + count].revents = 0;
      if (c->early) events = 0;
      if ((c->length || c->spliced) && !c->out_dead) events |= POLLOUT;
      /* Without events it is only watched for going away, once. */
      polled[n].fd = events || !c->gone ? c->fd : -1;
      polled[n].events = events;
      polled[n].revents = 0;
    }
    int waiting = state == EXITED || hung_ms || stranger_ms;
    int timeout = waiting ? QUIET_MS / 4 : memory_used ? IDLE_MS : -1;
    int ready = poll(polled, (nfds_t)(n + count), timeout);
    if (ready < 0 && errno != EINTR) _exit(72);
    if (ready == 0 && !waiting && memory_used) give_back();
    if (ready <= 0) continue;

    if (polled[5].revents) take_console();
    if (polled[2].revents) {
      stdin_full = 0;
      stdin_flush();
      if (stdin_ending && !stdin_length) shut(&input);
    }
    for (int stream = 0; stream < 2; stream++)
      if (polled[3 + stream].revents && output[stream] >= 0 && !clients_full()) pump_output(stream);
    /* Backwards, because dropping moves the last one into the gap. */
    for (int i = count - 1; i >= 0; i--) {
      struct client *c = &clients[i];
      short got = polled[7 + i].revents;
      int keep = 1;
      if (polled[7 + count + i].revents && (!c->in || !stdin_length)) client_read(c, 0);
      if (!got) continue;
      if (got & POLLOUT) client_flush(c);
      if ((got & POLLIN) && (c->kind != STREAM || !c->in || !stdin_length)) keep = client_read(c, got & POLLHUP);
      else if (got & (POLLHUP | POLLERR)) {
        if (c->in_ended || c->kind != STREAM) keep = 0;
        else c->gone = c->out_dead = 1; /* its input is read when there is room for it */
      }
      if (!keep) client_drop(i);
    }
    if (polled[1].revents && listening >= 0) accept_client();
    /* After the output: what the process wrote before it ended should be on its way before its end is. */
    if (polled[0].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) {}
      reap();
    }
    if (polled[6].revents && state == RUNNING) stranger_ended();
  }
}

int main(int argc, char **argv) {
  int command_at;
  sigset_t chld;
  umask(077);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  sigprocmask(SIG_BLOCK, &chld, NULL);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  read_options(argc, argv, &command_at);
  close_others();
  signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
  client_add(CONTROL_FD, CONTROL);
  fcntl(LISTEN_FD, F_SETFL, O_NONBLOCK);
  buffers();
  if (option.log) {
    log_trim();
    log_open(0);
  }
  start_runtime(argv + command_at);
  serve();
  return 0;
}
