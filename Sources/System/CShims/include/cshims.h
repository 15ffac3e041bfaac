#ifndef CSHIMS_H
#define CSHIMS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "confinement.h"

/* What Swift cannot import: variadic functions, macros of OpenSSL, and process work that must not run Swift code. */

/* Starts `path` with `argv` and `envp`; `control` becomes descriptor 3 (-1: none), all above is closed, signals are
   reset, the child leads its own process group. Answers 0 or an errno. */
int shim_spawn(const char *path, char *const argv[], char *const envp[], int control, int stdio, pid_t *pid);
/* As shim_spawn, for a child that the service manager's SIGTERM and SIGABRT to the whole control group must
   not end (they are blocked), and that gets SIGINT when the calling thread ends: call from a thread that stays. */
int shim_spawn_bound(const char *path, char *const argv[], char *const envp[], int control, pid_t *pid);
/* Blocks until the process of a pidfd has ended. */
void shim_pidfd_wait(int pidfd);
int shim_pidfd_open(pid_t pid);
int shim_pidfd_kill(int pidfd, int sig);
/* 1 = exited or killed (code and how in *status as from waitpid), 0 = still running, -1 = error. */
int shim_wait(pid_t pid, int block, int *status);
/* Exclusive non-blocking lock on an open file; 0 or errno. */
int shim_lock(int fd);
/* Preallocates; 0 or errno. */
int shim_allocate(int fd, off_t length);
/* memmem(3), a GNU extension: 1 = the needle is in the haystack. */
int shim_contains(const void *haystack, size_t length, const void *needle, size_t needle_length);
/* Milliseconds since the epoch. Follows the system's clock while that runs evenly. When the clock is set by more than two
   seconds and less than a day, it goes on evenly and drifts to the new time by 1 in 20: no wait ends early or stands still.
   $OWLAT_CLOCK_BASE: where the parent's clock stands (shim_clock_base), so that both go alike. */
int64_t shim_now_ms(void);
/* The system's clock as it is. $OWLAT_CLOCK_FILE: eight octets (int64, milliseconds) that tests set it off by. */
int64_t shim_wall_ms(void);
int64_t shim_clock_base(void);
int64_t shim_monotonic_ms(void);
/* uid of the peer of a Unix socket, -1 when unknown. */
int64_t shim_peer_uid(int fd);
/* pid of the peer of a Unix socket when it connected; -1 when unknown, 0 when it is of another pid namespace. */
pid_t shim_peer_pid(int fd);
/* The process that listens on a Unix socket, -1 when none does. */
pid_t shim_listener_pid(const char *path);
int shim_socketpair(int fds[2]);
/* Address of a listening stream socket as `address:port` or `unix:path`: 0, or 1 when it takes IPv4 beside IPv6; -1 = it is none. */
int shim_listening_address(int fd, char *text, size_t length);
/* Connects to journald when standard error is the stream that `stream` (JOURNAL_STREAM) names; -1 = it is not. */
int shim_journal_open(const char *stream);
/* One entry in journald's native form; never waits. 0 or -1 (lost). */
int shim_journal_send(int fd, const void *entry, size_t length);
int shim_set_pdeathsig(int sig);
/* From now on SIGABRT of anybody but our present parent and ourselves is taken for SIGTERM: when systemd's watchdog ends a
   supervisor that hangs, it sends SIGABRT to the workers too, which have transactions to end. */
void shim_abort_is_parents(void);
/* A non-blocking socket on which the kernel tells of addresses that come and go (rtnetlink); -1 when there is none. */
int shim_address_events(void);
/* Reads away all that waits there, lost messages included: the reader looks at everything anew. 0, or -1 when it is dead. */
int shim_take_events(int fd);
/* Whether a socket can be bound to this address: 1 yes, 0 it is not on this host, -1 could not be found out. */
int shim_can_bind(const char *address);
/* Raises the limit of open files to what may be had; answers it. */
int64_t shim_raise_open_files(void);

struct ssl_st;
struct ssl_ctx_st;
long shim_ssl_set_host_name(struct ssl_st *ssl, const char *name);
long shim_ssl_ctx_min_tls12(struct ssl_ctx_st *ctx);
long shim_ssl_ctx_client_cache(struct ssl_ctx_st *ctx);
void shim_malloc_trim(void);
/* Blocks of 1 MiB and more are mapped by themselves for good (glibc would raise the threshold after the first is freed),
   so that a large message's memory is the system's again when it is let go. Call first. */
void shim_malloc_setup(void);
#endif
