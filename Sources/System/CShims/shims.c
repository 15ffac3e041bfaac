#define _GNU_SOURCE
#include "include/cshims.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int shim_contains(const void *haystack, size_t length, const void *needle, size_t needle_length) {
  return memmem(haystack, length, needle, needle_length) != NULL;
}

int shim_spawn(const char *path, char *const argv[], char *const envp[], int control, int stdio, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  if (stdio >= 0) {
    posix_spawn_file_actions_adddup2(&actions, stdio, 1);
    posix_spawn_file_actions_adddup2(&actions, stdio, 2);
  }
  if (control >= 0) posix_spawn_file_actions_adddup2(&actions, control, 3);
  posix_spawn_file_actions_addclosefrom_np(&actions, control >= 0 ? 4 : 3);
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  int error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

int shim_spawn_bound(const char *path, char *const argv[], char *const envp[], int control, pid_t *pid) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) return errno;
  if (child > 0) {
    *pid = child;
    return 0;
  }
  /* From here to exec only what is safe after fork in a program with threads. */
  struct sigaction standard;
  memset(&standard, 0, sizeof standard);
  standard.sa_handler = SIG_DFL;
  for (int sig = 1; sig < NSIG; sig++) sigaction(sig, &standard, NULL);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGABRT);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGINT);
  if (getppid() != parent) _exit(127);
  if (control == 3) {
    if (fcntl(3, F_SETFD, 0) < 0) _exit(127);
  } else if (control >= 0 && dup2(control, 3) < 0) {
    _exit(127);
  }
  closefrom(control >= 0 ? 4 : 3);
  execve(path, argv, envp);
  _exit(127);
}

void shim_pidfd_wait(int pidfd) {
  struct pollfd wait = {.fd = pidfd, .events = POLLIN};
  while (poll(&wait, 1, -1) < 0 && errno == EINTR) {}
}

int shim_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int shim_pidfd_kill(int pidfd, int sig) { return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0); }

int shim_wait(pid_t pid, int block, int *status) {
  pid_t got;
  do got = waitpid(pid, status, block ? 0 : WNOHANG);
  while (got < 0 && errno == EINTR);
  return got == pid ? 1 : got == 0 ? 0 : -1;
}

int shim_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno; }
int shim_allocate(int fd, off_t length) { return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, length) == 0 ? 0 : errno; }

static int64_t clock_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
static const volatile int64_t *wall_offset(void) {
  static const int64_t none = 0;
  static const volatile int64_t *offset;
  static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&once);
  if (!offset) {
    offset = &none;
    const char *path = getenv("OWLAT_CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
      void *page = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
      if (page != MAP_FAILED) offset = page;
      close(fd);
    }
  }
  const volatile int64_t *found = offset;
  pthread_mutex_unlock(&once);
  return found;
}

int64_t shim_wall_ms(void) { return clock_ms(CLOCK_REALTIME) + *wall_offset(); }

#define CLOCK_EVEN_MS 2000
#define CLOCK_WRONG_MS 86400000
#define CLOCK_DRIFT 20

/* What the clock was ahead of the time since boot (suspends included), and until when that has drifted. */
static struct {
  pthread_mutex_t lock;
  int is_known, is_drifting;
  int64_t base, until;
} even_clock = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t even_now(int64_t *base) {
  int64_t wall = shim_wall_ms(), boot = clock_ms(CLOCK_BOOTTIME);
  pthread_mutex_lock(&even_clock.lock);
  int64_t ahead = wall - boot;
  if (!even_clock.is_known) {
    const char *given = getenv("OWLAT_CLOCK_BASE");
    even_clock.base = given ? strtoll(given, NULL, 10) : ahead;
    even_clock.is_known = 1;
    even_clock.until = boot;
  }
  int64_t off = ahead - even_clock.base, size = off < 0 ? -off : off;
  if (size > CLOCK_WRONG_MS || size <= 1 || (!even_clock.is_drifting && size <= CLOCK_EVEN_MS)) {
    even_clock.base = ahead;
    even_clock.is_drifting = 0;
    even_clock.until = boot;
  } else {
    if (!even_clock.is_drifting) even_clock.until = boot;
    even_clock.is_drifting = 1;
    int64_t steps = (boot - even_clock.until) / CLOCK_DRIFT;
    if (steps > 0) {
      even_clock.until += steps * CLOCK_DRIFT;
      if (steps > size) steps = size;
      even_clock.base += off < 0 ? -steps : steps;
    }
  }
  int64_t now = boot + even_clock.base;
  if (base) *base = even_clock.base;
  pthread_mutex_unlock(&even_clock.lock);
  return now;
}

int64_t shim_now_ms(void) { return even_now(NULL); }
int64_t shim_clock_base(void) {
  int64_t base;
  even_now(&base);
  return base;
}
int64_t shim_monotonic_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

int64_t shim_peer_uid(int fd) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? (int64_t)peer.uid : -1;
}

pid_t shim_peer_pid(int fd) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : -1;
}

pid_t shim_listener_pid(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof at.sun_path) return -1;
  strcpy(at.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  struct ucred peer;
  socklen_t length = sizeof peer;
  pid_t pid = -1;
  if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) pid = peer.pid;
  close(fd);
  return pid;
}

int shim_socketpair(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : errno; }

int shim_listening_address(int fd, char *text, size_t size) {
  int on = 0, type = 0, only = 0;
  socklen_t length = sizeof on;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) != 0 || !on) return -1;
  length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_STREAM) return -1;
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_un local;
    struct sockaddr_storage room;
  } at;
  memset(&at, 0, sizeof at);
  length = sizeof at;
  if (getsockname(fd, &at.any, &length) != 0) return -1;
  char host[INET6_ADDRSTRLEN];
  switch (at.any.sa_family) {
  case AF_INET:
    inet_ntop(AF_INET, &at.four.sin_addr, host, sizeof host);
    snprintf(text, size, "%s:%u", host, ntohs(at.four.sin_port));
    return 0;
  case AF_INET6:
    inet_ntop(AF_INET6, &at.six.sin6_addr, host, sizeof host);
    snprintf(text, size, "[%s]:%u", host, ntohs(at.six.sin6_port));
    length = sizeof only;
    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length) == 0 && !only;
  case AF_UNIX: snprintf(text, size, "unix:%s", at.local.sun_path); return 0;
  default: return -1;
  }
}

int shim_journal_open(const char *stream) {
  unsigned long long device, inode;
  struct stat own;
  if (sscanf(stream, "%llu:%llu", &device, &inode) != 2 || fstat(2, &own) != 0) return -1;
  if (own.st_dev != device || own.st_ino != inode) return -1;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
  if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
  close(fd);
  return -1;
}

int shim_journal_send(int fd, const void *entry, size_t length) {
  if (send(fd, entry, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
  if (errno != ECONNREFUSED && errno != ENOTCONN) return -1;
  /* journald has started anew. */
  struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
  if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) return -1;
  return send(fd, entry, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : -1;
}

int64_t shim_raise_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_cur;
}

int shim_set_pdeathsig(int sig) { return prctl(PR_SET_PDEATHSIG, sig) == 0 ? 0 : errno; }

static pid_t abort_parent;
static void on_abort(int sig, siginfo_t *info, void *context) {
  (void)context;
  if (info->si_code == SI_USER && info->si_pid != abort_parent && info->si_pid != getpid()) {
    kill(getpid(), SIGTERM);
    return;
  }
  signal(sig, SIG_DFL);
  raise(sig);
}
void shim_abort_is_parents(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  abort_parent = getppid();
  action.sa_sigaction = on_abort;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGABRT, &action, NULL);
}

long shim_ssl_set_host_name(SSL *ssl, const char *name) { return SSL_set_tlsext_host_name(ssl, name); }
long shim_ssl_ctx_min_tls12(SSL_CTX *ctx) { return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION); }
long shim_ssl_ctx_client_cache(SSL_CTX *ctx) {
  return SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}
void shim_malloc_trim(void) { malloc_trim(0); }
void shim_malloc_setup(void) { mallopt(M_MMAP_THRESHOLD, 1 << 20); }

int shim_address_events(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return -1;
  struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
  if (bind(fd, (struct sockaddr *)&name, sizeof name) == 0) return fd;
  close(fd);
  return -1;
}

int shim_take_events(int fd) {
  char buffer[16384];
  for (;;) {
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EINTR || errno == ENOBUFS))) continue;
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
  }
}

int shim_can_bind(const char *address) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  int is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) return -1;
  int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno == EAFNOSUPPORT ? 0 : -1;
  int code = is_v4 ? bind(fd, (struct sockaddr *)&v4, sizeof v4) : bind(fd, (struct sockaddr *)&v6, sizeof v6);
  int error = errno;
  close(fd);
  return code == 0 ? 1 : error == EADDRNOTAVAIL ? 0 : -1;
}
