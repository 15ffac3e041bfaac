#define _GNU_SOURCE
#include "include/cshims.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
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
#include <sys/syscall.h>
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

int shim_socketpair(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : errno; }
int64_t shim_raise_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_cur;
}

int shim_set_pdeathsig(int sig) { return prctl(PR_SET_PDEATHSIG, sig) == 0 ? 0 : errno; }

long shim_ssl_set_host_name(SSL *ssl, const char *name) { return SSL_set_tlsext_host_name(ssl, name); }
long shim_ssl_ctx_min_tls12(SSL_CTX *ctx) { return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION); }
long shim_ssl_ctx_client_cache(SSL_CTX *ctx) {
  return SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}
void shim_malloc_trim(void) { malloc_trim(0); }
void shim_malloc_setup(void) { mallopt(M_MMAP_THRESHOLD, 1 << 20); }
