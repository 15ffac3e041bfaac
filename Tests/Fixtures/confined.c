// Gives up what a worker gives up, by the worker's own code, and says for each forbidden thing what came of it. The
// argument names what kills: listen, execve or ptrace. Folder to write to: $FOLDER.
#define _GNU_SOURCE
#include "confinement.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void say(const char *what, long result) { printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "ok"); }

static void *in_a_thread(void *unused) {
  say("thread-fork", fork());
  return unused;
}

int main(int count, char **words) {
  char inside[512], outside[512];
  snprintf(inside, sizeof inside, "%s/in/file", getenv("FOLDER"));
  snprintf(outside, sizeof outside, "%s/out", getenv("FOLDER"));
  char folder[512];
  snprintf(folder, sizeof folder, "%s/in", getenv("FOLDER"));
  printf("limits %d\n", shim_confine_resources(512, 1 << 30, 1 << 30));
  int landlock = shim_confine_files(folder, NULL);
  printf("landlock %s\n", landlock > 0 ? "on" : landlock == 0 ? "none" : "failed");
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  bind(listener, (struct sockaddr *)&any, sizeof any);
  printf("seccomp %d\n", shim_confine_calls(0, 0));

  say("leak", (long)mmap(NULL, 2ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  say("socket-inet", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  say("socket-inet6", socket(AF_INET6, SOCK_STREAM, 0));
  say("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
  say("socket-netlink", socket(AF_NETLINK, SOCK_RAW, 0));
  say("socket-packet", socket(AF_PACKET, SOCK_RAW, 0));
  say("socket-datagram", socket(AF_INET, SOCK_DGRAM, 0));
  say("socket-raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  say("accept", accept(listener, NULL, NULL));
  say("fork", fork());
  say("vfork-clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  say("thread-namespace", syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER, 0, 0, 0, 0));
  say("truncate", truncate(inside, 0));
  say("kill-parent", kill(getppid(), 0));
  say("kill-self", kill(getpid(), 0));
  struct iovec vector = {inside, 1};
  say("process-vm", syscall(SYS_process_vm_readv, getppid(), &vector, 1, &vector, 1, 0));
  say("unshare", syscall(SYS_unshare, 0));
  say("mount", syscall(SYS_mount, "none", folder, "tmpfs", 0, NULL));
  say("bpf", syscall(SYS_bpf, 0, NULL, 0));
  say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
  say("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
  say("io_uring", syscall(425, 1, NULL));
  say("userfaultfd", syscall(SYS_userfaultfd, 0));
  say("setuid", setuid(getuid()));
  say("newest", syscall(470));
  pthread_t late;
  pthread_create(&late, NULL, in_a_thread, NULL);
  pthread_join(late, NULL);
  say("write-inside", open(inside, O_WRONLY | O_CREAT, 0600));
  say("write-outside", open(outside, O_WRONLY | O_CREAT, 0600));
  say("read-secret", open("/etc/passwd", O_RDONLY));
  say("read-proc", open("/proc/self/status", O_RDONLY));
  fflush(stdout);
  if (count > 1 && strcmp(words[1], "listen") == 0) listen(listener, 1);
  if (count > 1 && strcmp(words[1], "ptrace") == 0) ptrace(PTRACE_TRACEME, 0, NULL, NULL);
  if (count > 1 && strcmp(words[1], "execve") == 0) execl("/bin/true", "true", NULL);
  puts("survived");
  return 0;
}
