#ifndef CSHIMS_CONFINEMENT_H
#define CSHIMS_CONFINEMENT_H
#include <stdint.h>

/* What a worker gives up once it has started. In C, because filters and rule sets are macros and raw system calls, and
   because nothing may allocate or start a thread in between. */

/* Files: from here on the calling thread and all it starts may write below `writable` only, and read there, below the
   system's own folders and /proc (libdispatch reads it), and in `extra` (may be NULL; for a test's
   files). Scopes, where the kernel has them: no signal to a process outside, unless `extra` is given; no abstract socket.
   Call while there is one thread. Answers the kernel's Landlock ABI, 0 where there is none, or a
   negative errno (EBUSY: other threads were there already and are not bound). */
int shim_confine_files(const char *writable, const char *extra);

/* System calls, for every thread of this process and for good; sets no_new_privs. Killed (SIGSYS): execve, execveat,
   ptrace, listen, and calls of another architecture. EPERM: new processes, sockets other than streams of Unix, IPv4 and
   IPv6, taking connections, other processes (memory, descriptors, signals, limits), mounts, namespaces, users, clocks,
   modules, bpf, perf, keys, io_uring, userfaultfd. `resolves`: 1 = also what getaddrinfo needs (datagrams, netlink).
   `signals`: 1 = signals to other processes stay possible (fail points). Answers 0 or an errno; ENOSYS on another
   architecture than x86_64 and aarch64. */
int shim_confine_calls(int resolves, int signals);

/* No core files, at most `files` descriptors, `data` octets of private writable memory and `file_size` octets a file;
   first to be killed when memory runs out; CPU after those of standard priority. Lowers only. Answers how many of them
   could not be set. */
int shim_confine_resources(uint64_t files, uint64_t data, uint64_t file_size);

/* A worker's own priority: after the supervisor's and Redis's, by a little. */
#define SHIM_WORKER_NICE 2
/* Gives every thread of a process a priority; raising one needs root or RLIMIT_NICE. Answers how many threads were told. */
int shim_set_nice(int pid, int nice);
/* Physical memory in octets. */
uint64_t shim_physical_memory(void);
#endif
