/* Counts the calls of this process that change files below a folder; the chosen one fails, or the
   process is killed before it. Loaded by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long chosen;
static int number;
static atomic_long count;
static char name[32];

/* The call to fail, counted from 1; 0 only counts. An errno of 0 kills the process. */
void faults_arm(const char *below, long at, int error) {
    strncpy(folder, below, sizeof folder - 1);
    chosen = at;
    number = error;
    count = 0;
    name[0] = 0;
}
long faults_count(void) { return count; }
const char *faults_call(void) { return name; }

static int fails(const char *call) {
    if (atomic_fetch_add(&count, 1) + 1 != chosen) return 0;
    strncpy(name, call, sizeof name - 1);
    if (!number) kill(getpid(), SIGKILL), pause();
    errno = number;
    return 1;
}

static int below(const char *path) { return !strncmp(path, folder, strlen(folder)); }

static int fd_below(int fd) {
    int before = errno, found = 0;
    char link[64], path[PATH_MAX];
    struct stat about;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size > 0 && !fstat(fd, &about) && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode)))
        path[size] = 0, found = below(path);
    errno = before;
    return found;
}

static int at_below(int fd, const char *path) {
    char here[PATH_MAX];
    if (!folder[0]) return 0;
    if (path[0] == '/') return below(path);
    if (fd != AT_FDCWD) return fd_below(fd);
    return getcwd(here, sizeof here) && below(here);
}

#define NEXT(call) ((__typeof__(&call))dlsym(RTLD_NEXT, #call))
#define FAIL_AT(call, fd, path) do { if (at_below(fd, path) && fails(#call)) return -1; } while (0)
#define FAIL_FD(call, fd) do { if (folder[0] && fd_below(fd) && fails(#call)) return -1; } while (0)
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define MODE(flags) va_list rest; va_start(rest, flags); mode_t mode = \
    (flags) & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest)

#define OPEN(call) int call(const char *path, int flags, ...) { MODE(flags); \
    if (flags & WRITES) { FAIL_AT(call, AT_FDCWD, path); } return NEXT(call)(path, flags, mode); }
#define OPENAT(call) int call(int fd, const char *path, int flags, ...) { MODE(flags); \
    if (flags & WRITES) { FAIL_AT(call, fd, path); } return NEXT(call)(fd, path, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define PATH1(call, more, args) int call(const char *path more) { \
    FAIL_AT(call, AT_FDCWD, path); return NEXT(call) args; }
#define COMMA ,
PATH1(mkdir, COMMA mode_t mode, (path, mode))
PATH1(unlink, , (path))
PATH1(rmdir, , (path))
PATH1(chmod, COMMA mode_t mode, (path, mode))
PATH1(rename, COMMA const char *to, (path, to))

int mkdirat(int fd, const char *p, mode_t m) { FAIL_AT(mkdirat, fd, p); return NEXT(mkdirat)(fd, p, m); }
int unlinkat(int fd, const char *p, int f) { FAIL_AT(unlinkat, fd, p); return NEXT(unlinkat)(fd, p, f); }
int fchmodat(int fd, const char *p, mode_t m, int f) {
    FAIL_AT(fchmodat, fd, p); return NEXT(fchmodat)(fd, p, m, f); }
int renameat(int fd, const char *p, int other, const char *to) {
    FAIL_AT(renameat, fd, p); return NEXT(renameat)(fd, p, other, to); }

int fsync(int fd) { FAIL_FD(fsync, fd); return NEXT(fsync)(fd); }
int fdatasync(int fd) { FAIL_FD(fdatasync, fd); return NEXT(fdatasync)(fd); }
int fchmod(int fd, mode_t m) { FAIL_FD(fchmod, fd); return NEXT(fchmod)(fd, m); }
int ftruncate(int fd, off_t n) { FAIL_FD(ftruncate, fd); return NEXT(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { FAIL_FD(ftruncate64, fd); return NEXT(ftruncate64)(fd, n); }
int fallocate64(int fd, int how, off64_t at, off64_t n) {
    FAIL_FD(fallocate64, fd); return NEXT(fallocate64)(fd, how, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) {
    if (folder[0] && fd_below(fd) && fails("posix_fallocate64")) return number;
    return NEXT(posix_fallocate64)(fd, at, n); }
ssize_t write(int fd, const void *b, size_t n) { FAIL_FD(write, fd); return NEXT(write)(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { FAIL_FD(writev, fd); return NEXT(writev)(fd, v, n); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
    FAIL_FD(pwrite64, fd); return NEXT(pwrite64)(fd, b, n, at); }
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) {
    FAIL_FD(sendfile64, out); return NEXT(sendfile64)(out, in, at, n); }
ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t n, unsigned f) {
    FAIL_FD(copy_file_range, out); return NEXT(copy_file_range)(in, a, out, b, n, f); }
