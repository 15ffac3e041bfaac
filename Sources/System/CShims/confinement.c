#define _GNU_SOURCE
#include "include/confinement.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- files ---- */

/* The structures of <linux/landlock.h>, spelt here so that an older header builds the newer rules. */
struct ruleset { uint64_t files, net, scoped; };
struct beneath { uint64_t access; int32_t parent; } __attribute__((packed));

enum {
  FS_EXECUTE = 1 << 0, FS_WRITE = 1 << 1, FS_READ = 1 << 2, FS_READ_DIR = 1 << 3, FS_REMOVE_DIR = 1 << 4,
  FS_REMOVE = 1 << 5, FS_MAKE_CHAR = 1 << 6, FS_MAKE_DIR = 1 << 7, FS_MAKE_REG = 1 << 8, FS_MAKE_SOCK = 1 << 9,
  FS_MAKE_FIFO = 1 << 10, FS_MAKE_BLOCK = 1 << 11, FS_MAKE_SYM = 1 << 12, FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14,
  FS_IOCTL = 1 << 15,
  SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNAL = 1 << 1,
};

static void allow_beneath(int ruleset, const char *path, uint64_t access) {
  int parent = open(path, O_PATH | O_CLOEXEC);
  /* What this host does not have needs no rule. */
  if (parent < 0) return;
  struct stat status;
  if (fstat(parent, &status) == 0 && !S_ISDIR(status.st_mode)) access &= FS_EXECUTE | FS_WRITE | FS_READ | FS_TRUNCATE | FS_IOCTL;
  struct beneath rule = {access, parent};
  syscall(SYS_landlock_add_rule, ruleset, 1 /* LANDLOCK_RULE_PATH_BENEATH */, &rule, 0);
  close(parent);
}

/* Threads of this process, by the kernel's count. */
static int threads(void) {
  struct stat status;
  return stat("/proc/self/task", &status) == 0 ? (int)status.st_nlink - 2 : 1;
}

int shim_confine_files(const char *writable, const char *extra) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
  if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) return 0;
  if (abi <= 0) return abi < 0 ? -errno : 0;
  uint64_t all = (1 << 13) - 1;
  if (abi >= 2) all |= FS_REFER;
  if (abi >= 3) all |= FS_TRUNCATE;
  if (abi >= 5) all |= FS_IOCTL;
  struct ruleset attributes = {all, 0, 0};
  size_t size = 8;
  if (abi >= 4) size = 16;
  if (abi >= 6) {
    size = 24;
    attributes.scoped = SCOPE_ABSTRACT | (extra ? 0 : SCOPE_SIGNAL);
  }
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
  if (ruleset < 0) return -errno;
  const uint64_t reading = FS_READ | FS_READ_DIR;
  /* Libraries, and what they read: never a folder that holds configuration of ours. */
  static const char *const readable[] = {
    "/proc", "/usr", "/lib", "/lib64", "/opt", "/sys/devices/system", "/sys/fs/cgroup", "/dev/null", "/dev/urandom",
    "/dev/random", "/etc/ld.so.cache", "/etc/localtime", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf",
    "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/ssl/openssl.cnf", "/etc/ssl/certs", "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust", "/etc/crypto-policies", "/run/systemd/resolve", NULL};
  for (int index = 0; readable[index]; index++) allow_beneath(ruleset, readable[index], reading);
  allow_beneath(ruleset, "/dev/null", FS_READ | FS_WRITE);
  allow_beneath(
    ruleset, writable, (reading | FS_WRITE | FS_REMOVE | FS_MAKE_REG | FS_TRUNCATE) & all);
  if (extra) allow_beneath(ruleset, extra, (reading | FS_WRITE | FS_REMOVE | FS_MAKE_REG | FS_TRUNCATE) & all);
  int code = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? 0 : errno;
  close(ruleset);
  if (code == 0 && threads() > 1) return -EBUSY;
  return code == 0 ? (int)abi : -code;
}

/* ---- system calls ---- */

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Calls newer than the headers have names for. */
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
/* The highest number that was looked at (mseal); what came later answers ENOSYS, as on an older kernel. */
#define NEWEST_CALL 462
/* A thread with one of these is in a namespace of its own. */
#define NAMESPACES \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const int killed[] = {SYS_execve, SYS_execveat, SYS_ptrace, SYS_listen};

static const int refused[] = {
  /* new processes and programs in other shapes */
#ifdef SYS_fork
  SYS_fork, SYS_vfork,
#endif
  SYS_unshare, SYS_setns, SYS_personality,
  /* connections taken */
  SYS_accept4, SYS_accept,
  /* other processes */
  SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_process_mrelease, SYS_kcmp, SYS_pidfd_open,
  SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_tkill, SYS_migrate_pages,
  SYS_move_pages,
  /* mounts and other views of files */
  SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig, SYS_fsmount,
  SYS_fspick, SYS_mount_setattr, SYS_mknodat, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init,
  SYS_truncate, /* by path: Landlock judges it from 6.2 on */
  SYS_quotactl, SYS_quotactl_fd, SYS_swapon, SYS_swapoff, SYS_acct, SYS_vhangup,
  /* users and capabilities */
  SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid,
  SYS_setgroups, SYS_capset, SYS_fchown, SYS_fchownat,
  /* the host */
  SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname, SYS_syslog,
  SYS_reboot, SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
#ifdef SYS_kexec_file_load
  SYS_kexec_file_load,
#endif
  /* large or old surfaces of the kernel that a mail client has no use for */
  SYS_bpf, SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_io_uring_setup, SYS_io_uring_enter,
  SYS_io_uring_register, SYS_userfaultfd, SYS_memfd_secret, SYS_io_setup, SYS_io_submit, SYS_shmget, SYS_shmat, SYS_msgget,
  SYS_semget, SYS_mq_open, SYS_vmsplice, SYS_lookup_dcookie,
#ifdef __x86_64__
  SYS_mknod, SYS_chown, SYS_lchown, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs,
#endif
};

#define COUNT(list) (sizeof(list) / sizeof(list[0]))
#define ERRNO(code) (SECCOMP_RET_ERRNO | (code))

struct program {
  struct sock_filter code[512];
  unsigned short count;
};

static void put(struct program *p, uint16_t code, uint8_t yes, uint8_t no, uint32_t k) {
  if (p->count < COUNT(p->code)) p->code[p->count++] = (struct sock_filter){code, yes, no, k};
}
static void load(struct program *p, uint32_t offset) { put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
/* The low half: the kernel looks at no more of the arguments that are judged here. */
static void load_argument(struct program *p, int index) {
  load(p, (uint32_t)offsetof(struct seccomp_data, args) + 8 * (uint32_t)index);
}
static void equals(struct program *p, uint32_t k, uint8_t yes, uint8_t no) { put(p, BPF_JMP | BPF_JEQ | BPF_K, yes, no, k); }
static void answer(struct program *p, uint32_t action) { put(p, BPF_RET | BPF_K, 0, 0, action); }

/* `call` answers `action`; the number stays loaded for who comes next. */
static void rule(struct program *p, int call, uint32_t action) {
  equals(p, (uint32_t)call, 0, 1);
  answer(p, action);
}

/* `call` passes when its argument has one of the values, else EPERM. */
static void passes_with(struct program *p, int call, int argument, const uint32_t *values, uint8_t count) {
  equals(p, (uint32_t)call, 0, (uint8_t)(count + 3));
  load_argument(p, argument);
  for (uint8_t index = 0; index < count; index++) equals(p, values[index], (uint8_t)(count - index), 0);
  answer(p, ERRNO(EPERM));
  answer(p, SECCOMP_RET_ALLOW);
}

static void socket_rule(struct program *p, int resolves) {
  uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
  uint8_t count = resolves ? 4 : 3;
  /* Family, then kind: the body has count + 7 instructions. */
  equals(p, SYS_socket, 0, (uint8_t)(count + 7 + (resolves ? 2 : 0)));
  load_argument(p, 0);
  for (uint8_t index = 0; index < count; index++) equals(p, families[index], (uint8_t)(count - index), 0);
  answer(p, ERRNO(EPERM));
  load_argument(p, 1);
  put(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xF);
  if (resolves) {
    equals(p, SOCK_DGRAM, 3, 0);
    equals(p, SOCK_RAW, 2, 0); /* netlink's kind; an IP socket of it needs CAP_NET_RAW */
  }
  equals(p, SOCK_STREAM, 1, 0);
  answer(p, ERRNO(EPERM));
  answer(p, SECCOMP_RET_ALLOW);
}

int shim_confine_calls(int resolves, int signals) {
#ifndef OWN_ARCHITECTURE
  return ENOSYS;
#else
  struct program p = {.count = 0};
  load(&p, offsetof(struct seccomp_data, arch));
  equals(&p, OWN_ARCHITECTURE, 1, 0);
  answer(&p, SECCOMP_RET_KILL_PROCESS);
  load(&p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
  /* x32 has the same architecture word and other numbers. */
  put(&p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000);
  answer(&p, SECCOMP_RET_KILL_PROCESS);
#endif
  put(&p, BPF_JMP | BPF_JGT | BPF_K, 0, 1, NEWEST_CALL);
  answer(&p, ERRNO(ENOSYS));
  for (size_t index = 0; index < COUNT(killed); index++) rule(&p, killed[index], SECCOMP_RET_KILL_PROCESS);
  for (size_t index = 0; index < COUNT(refused); index++) rule(&p, refused[index], ERRNO(EPERM));
  /* Its flags are in memory, where a filter cannot look: the C library then falls back to clone. */
  rule(&p, SYS_clone3, ERRNO(ENOSYS));
  equals(&p, SYS_clone, 0, 5);
  load_argument(&p, 0);
  put(&p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, NAMESPACES);
  put(&p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, CLONE_THREAD);
  answer(&p, ERRNO(EPERM));
  answer(&p, SECCOMP_RET_ALLOW);
  socket_rule(&p, resolves);
  const uint32_t unix_only[] = {AF_UNIX};
  passes_with(&p, SYS_socketpair, 0, unix_only, 1);
  const uint32_t own[] = {0, (uint32_t)getpid()};
  passes_with(&p, SYS_prlimit64, 0, own, 2);
  if (!signals) {
    passes_with(&p, SYS_kill, 0, own + 1, 1);
    passes_with(&p, SYS_tgkill, 0, own + 1, 1);
  }
  /* Who has no readable /proc/PID/exe could pass for somebody else at the supervisor's socket. */
  equals(&p, SYS_prctl, 0, 4);
  load_argument(&p, 0);
  equals(&p, PR_SET_DUMPABLE, 0, 1);
  answer(&p, ERRNO(EPERM));
  answer(&p, SECCOMP_RET_ALLOW);
  /* Typing into the terminal that we were started from. */
  equals(&p, SYS_ioctl, 0, 5);
  load_argument(&p, 1);
  equals(&p, TIOCSTI, 1, 0);
  equals(&p, 0x541C /* TIOCLINUX */, 0, 1);
  answer(&p, ERRNO(EPERM));
  answer(&p, SECCOMP_RET_ALLOW);
  answer(&p, SECCOMP_RET_ALLOW);
  if (p.count >= COUNT(p.code)) return E2BIG;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  struct sock_fprog filter = {p.count, p.code};
  long code = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  /* A positive answer is the thread that could not be brought along. */
  return code == 0 ? 0 : code > 0 ? EBUSY : errno;
#endif
}

/* ---- resources ---- */

static int lower(int what, rlim_t limit) {
  struct rlimit now;
  if (getrlimit(what, &now) != 0) return 1;
  if (limit > now.rlim_max) limit = now.rlim_max;
  struct rlimit next = {limit, limit};
  return setrlimit(what, &next) == 0 ? 0 : 1;
}

int shim_confine_resources(uint64_t files, uint64_t data, uint64_t file_size) {
  int missed = lower(RLIMIT_CORE, 0) + lower(RLIMIT_NOFILE, files) + lower(RLIMIT_DATA, data) + lower(RLIMIT_FSIZE, file_size);
  /* Beyond its size a write fails, as on a full disk, instead of killing. */
  signal(SIGXFSZ, SIG_IGN);
  int adjust = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (adjust < 0 || write(adjust, "300", 3) != 3) missed++;
  if (adjust >= 0) close(adjust);
  if (setpriority(PRIO_PROCESS, 0, SHIM_WORKER_NICE) != 0) missed++;
  return missed;
}

int shim_set_nice(int pid, int nice) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) return 0;
  int told = 0;
  for (struct dirent *entry; (entry = readdir(tasks));) {
    int thread = atoi(entry->d_name);
    if (thread > 0 && setpriority(PRIO_PROCESS, (id_t)thread, nice) == 0) told++;
  }
  closedir(tasks);
  return told;
}

uint64_t shim_physical_memory(void) { return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE); }
