/* A disk that forgets, as an LD_PRELOAD library.
 *
 * It notes what a process did to the files below a folder and what of it is durable, so that after a SIGKILL (which
 * leaves the page cache as it is) `forget` of this crate can put the files into the state in which a power loss would
 * have left them. It also makes syncs slow, makes them fail, or leaves them out.
 *
 *   FORGET_DIR      the folder; real path, no symbolic links below it
 *   FORGET_JOURNALS a folder on the same file system, outside FORGET_DIR; gets PID.journal, PID.bytes and PID.kept/
 *   FORGET_CONTROL  orders from the start, as in the file FORGET_JOURNALS/PID.control, which replaces them as soon as
 *                   it exists: `slow=MILLISECONDS`, `fail=PATTERN`, `skip=PATTERN`, separated by white space. Patterns
 *                   are of fnmatch(3), over the path below FORGET_DIR. A skipped sync says that it was done.
 *
 * The journal has one line per act, fields separated by tabs, names escaped as %XX, files and folders named by inode:
 *
 *   C number folder name old new     a file was made           K  a folder was made
 *   L number folder name old new     a file got another name   U  a name was removed   D  a folder was removed
 *   R number folder name old 0 folder name old new             renamed: the first name gone, the second in its place
 *   F inode length                   a file from before this process was opened for writing: durable as it is
 *   S inode length number            a file was synced at this length; the sync began after act `number`
 *   Y folder number                  a folder was synced; the sync began after act `number`
 *   O number inode offset length at  durable bytes are about to change; the old ones lie at `at` of PID.bytes
 *   ! what                           something happened that cannot be undone
 *
 * Nothing that a name ever meant is given back to the file system while the process lives: a file that is unlinked or
 * replaced gets a hard link in PID.kept/, a removed folder is moved there. So inodes name files for good.
 *
 * What is noted is noted after it was done, and names change under one lock: a kill in between leaves an act that was
 * not noted, as if the disk had taken it in time. System calls are made directly, so that no dlsym is needed.
 *
 * Limits: writes through a shared mapping are reported, not undone; so are exchanged names and names that leave the
 * folder. Calls that bypass libc are not seen: harmless for writes that append, since lengths are taken at the sync.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define BUCKETS 8192
#define PATH_BYTES (PATH_MAX + 64)

/* A file that this process wrote to; never freed. */
struct file {
	ino_t inode;
	off_t durable; /* how many of its first bytes a change would have to save */
	struct file *next;
};

static struct file *open_files[FDS];
static struct file *files[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[PATH_MAX], journals[PATH_MAX];
static size_t dir_length;
static int journal = -1, old_bytes = -1;
static off_t old_bytes_end;
static unsigned long acts, kept;
static long lines_to_live;
static int on;

static void die(const char *what) {
	dprintf(2, "forget: %s: %s\n", what, strerror(errno));
	abort();
}

static void note(const char *format, ...) {
	char line[4 * NAME_MAX * 2 + 1024];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (length >= (int)sizeof line || syscall(SYS_write, journal, line, length) != length)
		die("writing the journal");
	if (lines_to_live && !--lines_to_live)
		syscall(SYS_kill, getpid(), SIGKILL);
}

static const char *escaped(const char *name, char *into) {
	char *end = into;
	for (; *name; name++) {
		unsigned char c = *name;
		if (c <= ' ' || c == '%' || c >= 127)
			end += sprintf(end, "%%%02X", c);
		else
			*end++ = c;
	}
	*end = 0;
	return into;
}

static int own_file(const char *ending, int flags) {
	char path[PATH_BYTES];
	snprintf(path, sizeof path, "%s/%d.%s", journals, getpid(), ending);
	return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0644);
}

__attribute__((constructor)) static void start(void) {
	const char *folder = getenv("FORGET_DIR"), *beside = getenv("FORGET_JOURNALS");
	char path[PATH_BYTES];
	if (!folder || !beside)
		return;
	snprintf(dir, sizeof dir, "%s", folder);
	snprintf(journals, sizeof journals, "%s", beside);
	dir_length = strlen(dir);
	lines_to_live = getenv("FORGET_DIE_AT") ? atol(getenv("FORGET_DIE_AT")) : 0;
	journal = own_file("journal", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	old_bytes = own_file("bytes", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	snprintf(path, sizeof path, "%s/%d.kept", journals, getpid());
	if (journal < 0 || old_bytes < 0 || (syscall(SYS_mkdirat, AT_FDCWD, path, 0755) && errno != EEXIST))
		die("making the journal");
	on = 1;
}

/* ---- paths ---- */

static int below(const char *path) {
	return !strncmp(path, dir, dir_length) && path[dir_length] == '/' && path[dir_length + 1];
}

static int path_of_fd(int fd, char *path) {
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, PATH_MAX - 1);
	path[length < 0 ? 0 : length] = 0;
	return length > 0;
}

/* The absolute path, when it lies below the folder. */
static int resolve(int at, const char *path, char *absolute) {
	if (!on || !path || !*path)
		return 0;
	absolute[0] = 0;
	if (path[0] != '/') {
		if (at == AT_FDCWD ? !getcwd(absolute, PATH_MAX) : !path_of_fd(at, absolute))
			return 0;
		strcat(absolute, "/");
	}
	if (strlen(absolute) + strlen(path) >= PATH_MAX)
		return 0;
	strcat(absolute, path);
	for (size_t end = strlen(absolute); end > 1 && absolute[end - 1] == '/'; end--)
		absolute[end - 1] = 0;
	return below(absolute);
}

static ino_t inode_of(const char *path, struct stat *st) {
	struct stat own;
	st = st ? st : &own;
	if (fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW))
		return memset(st, 0, sizeof *st), 0;
	return st->st_ino;
}

/* Its folder's inode and its last name, escaped. */
struct place {
	ino_t folder;
	char name[3 * NAME_MAX + 1];
};

static struct place place_of(const char *path) {
	struct place place;
	char folder[PATH_BYTES];
	snprintf(folder, sizeof folder, "%s", path);
	char *slash = strrchr(folder, '/');
	if (strlen(slash + 1) > NAME_MAX)
		slash[1] = 0;
	escaped(slash + 1, place.name);
	*slash = 0;
	place.folder = inode_of(folder, NULL);
	return place;
}

/* ---- what must not be lost ---- */

/* Keeps what a name means before the name goes: a link for a file, the folder itself for a folder. */
static int keep(const char *path, const struct stat *st, char *kept_path) {
	snprintf(kept_path, PATH_BYTES, "%s/%d.kept/%lu", journals, getpid(), kept++);
	if (S_ISDIR(st->st_mode)) {
		DIR *entries = opendir(path);
		struct dirent *entry;
		int count = 0;
		while (entries && (entry = readdir(entries)))
			count++;
		if (entries)
			closedir(entries);
		if (count > 2)
			return errno = ENOTEMPTY, -1;
		return syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, kept_path, 0);
	}
	if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept_path, 0))
		die("keeping a file");
	return 0;
}

/* The act failed: what was kept is not needed. */
static void keep_not(const char *path, const struct stat *st, const char *kept_path) {
	int error = errno;
	if (S_ISDIR(st->st_mode))
		syscall(SYS_renameat2, AT_FDCWD, kept_path, AT_FDCWD, path, 0);
	else
		syscall(SYS_unlinkat, AT_FDCWD, kept_path, 0);
	errno = error;
}

static struct file *file_of(ino_t inode) {
	struct file *file = files[inode % BUCKETS];
	while (file && file->inode != inode)
		file = file->next;
	return file;
}

/* A file that is met for the first time; with `durable` bytes if it was there before. */
static struct file *meet(ino_t inode, off_t durable, int was_there) {
	struct file *file = file_of(inode);
	if (file)
		return file;
	if (!(file = calloc(1, sizeof *file)))
		die("memory");
	*file = (struct file){.inode = inode, .durable = durable, .next = files[inode % BUCKETS]};
	files[inode % BUCKETS] = file;
	if (was_there)
		note("F\t%lu\t%ld\n", (unsigned long)inode, (long)durable);
	return file;
}

/* Saves the durable ones of the bytes that are about to change. */
static void save(struct file *file, const char *path, off_t offset, off_t length) {
	static char buffer[1 << 16];
	off_t end = offset + length < file->durable ? offset + length : file->durable;
	if (offset >= end)
		return;
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) || st.st_ino != file->inode) {
		if (fd >= 0)
			syscall(SYS_close, fd);
		return;
	}
	off_t at = old_bytes_end;
	for (off_t from = offset; from < end;) {
		size_t want = end - from < (off_t)sizeof buffer ? (size_t)(end - from) : sizeof buffer;
		ssize_t got = syscall(SYS_pread64, fd, buffer, want, from);
		if (got <= 0 || syscall(SYS_write, old_bytes, buffer, got) != got)
			die("saving old bytes");
		from += got;
		old_bytes_end += got;
	}
	syscall(SYS_close, fd);
	note("O\t%lu\t%lu\t%ld\t%ld\t%ld\n", ++acts, (unsigned long)file->inode, (long)offset, (long)(end - offset), (long)at);
}

static struct file *tracked(int fd) {
	return on && fd >= 0 && fd < FDS ? __atomic_load_n(&open_files[fd], __ATOMIC_ACQUIRE) : NULL;
}

static void track(int fd, struct file *file) {
	if (on && fd >= 0 && fd < FDS)
		__atomic_store_n(&open_files[fd], file, __ATOMIC_RELEASE);
}

/* Before a write of `length` bytes at `offset`, or at the descriptor's own place when it is -1. */
static void before_write(int fd, off_t offset, size_t length) {
	struct file *file = tracked(fd);
	if (!file || !file->durable)
		return;
	int error = errno;
	if (offset < 0)
		offset = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND ? file->durable : syscall(SYS_lseek, fd, 0, SEEK_CUR);
	if (offset >= 0 && offset < file->durable) {
		char link[64];
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		pthread_mutex_lock(&lock);
		save(file, link, offset, length);
		pthread_mutex_unlock(&lock);
	}
	errno = error;
}

static void before_cut(struct file *file, const char *path, off_t length) {
	if (length < file->durable) {
		save(file, path, length, file->durable - length);
		file->durable = length;
	}
}

/* ---- opening ---- */

static int open_at(int at, const char *path, int flags, mode_t mode) {
	char absolute[PATH_BYTES];
	int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
	if (!writes || (flags & O_PATH) || (flags & O_TMPFILE) == O_TMPFILE || !resolve(at, path, absolute)) {
		int fd = syscall(SYS_openat, at, path, flags, mode);
		track(fd, NULL);
		return fd;
	}
	struct stat before, after;
	pthread_mutex_lock(&lock);
	ino_t old = inode_of(absolute, &before);
	if (old && S_ISREG(before.st_mode) && flags & O_TRUNC && !(flags & O_EXCL))
		before_cut(meet(old, before.st_size, 1), absolute, 0);
	int fd = syscall(SYS_openat, at, path, flags, mode);
	struct file *file = NULL;
	if (fd >= 0 && !fstat(fd, &after) && S_ISREG(after.st_mode)) {
		file = meet(after.st_ino, old ? after.st_size : 0, old != 0);
		if (!old) {
			struct place place = place_of(absolute);
			note("C\t%lu\t%lu\t%s\t0\t%lu\n", ++acts, (unsigned long)place.folder, place.name, (unsigned long)after.st_ino);
		}
	}
	track(fd, file);
	pthread_mutex_unlock(&lock);
	return fd;
}

#define WITH_MODE(flags)                                                       \
	mode_t mode = 0;                                                       \
	if ((flags) & (O_CREAT | O_TMPFILE)) {                                 \
		va_list rest;                                                  \
		va_start(rest, flags);                                         \
		mode = va_arg(rest, mode_t);                                   \
		va_end(rest);                                                  \
	}
int open(const char *path, int flags, ...) { WITH_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { WITH_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { WITH_MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { WITH_MODE(flags) return open_at(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return open_at(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return open_at(at, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
	track(fd, NULL);
	return syscall(SYS_close, fd);
}
int dup(int fd) {
	int copy = syscall(SYS_dup, fd);
	track(copy, tracked(fd));
	return copy;
}
int dup3(int fd, int copy, int flags) {
	track(copy, tracked(fd));
	return syscall(SYS_dup3, fd, copy, flags);
}
int dup2(int fd, int copy) { return fd == copy ? (fcntl(fd, F_GETFD) < 0 ? -1 : copy) : dup3(fd, copy, 0); }
int fcntl(int fd, int command, ...) {
	va_list rest;
	va_start(rest, command);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	int answer = syscall(SYS_fcntl, fd, command, argument);
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		track(answer, tracked(fd));
	return answer;
}
int fcntl64(int fd, int command, ...) {
	va_list rest;
	va_start(rest, command);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	return fcntl(fd, command, argument);
}

/* ---- contents ---- */

static size_t sum(const struct iovec *parts, int count) {
	size_t total = 0;
	for (int part = 0; part < count; part++)
		total += parts[part].iov_len;
	return total;
}
ssize_t write(int fd, const void *bytes, size_t length) {
	before_write(fd, -1, length);
	return syscall(SYS_write, fd, bytes, length);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
	before_write(fd, -1, sum(parts, count));
	return syscall(SYS_writev, fd, parts, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
	before_write(fd, offset, length);
	return syscall(SYS_pwrite64, fd, bytes, length, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
	before_write(fd, offset, sum(parts, count));
	return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

int ftruncate64(int fd, off64_t length) {
	struct file *file = tracked(fd);
	if (file) {
		char link[64];
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		pthread_mutex_lock(&lock);
		before_cut(file, link, length);
		pthread_mutex_unlock(&lock);
	}
	return syscall(SYS_ftruncate, fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int truncate64(const char *path, off64_t length) {
	char absolute[PATH_BYTES];
	struct stat st;
	if (resolve(AT_FDCWD, path, absolute) && inode_of(absolute, &st)) {
		pthread_mutex_lock(&lock);
		before_cut(meet(st.st_ino, st.st_size, 1), absolute, length);
		pthread_mutex_unlock(&lock);
	}
	return syscall(SYS_truncate, path, length);
}
int truncate(const char *path, off_t length) { return truncate64(path, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
	if (mode & ~FALLOC_FL_KEEP_SIZE)
		before_write(fd, offset, length);
	return syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
	if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE && tracked(fd))
		note("!\ta shared mapping for writing\n");
	return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
	return mmap64(at, length, protection, flags, fd, offset);
}

/* ---- syncing ---- */

/* Whether the orders have `word=` with a pattern that fits; its value goes to `value`. */
static int ordered(const char *orders, const char *word, const char *path, char *value) {
	size_t length = strlen(word);
	for (const char *at = orders; *at;) {
		at += strspn(at, " \t\n");
		size_t end = strcspn(at, " \t\n");
		if (end > length && end - length <= PATH_MAX && !strncmp(at, word, length)) {
			memcpy(value, at + length, end - length);
			value[end - length] = 0;
			if (!path || !fnmatch(value, path, 0))
				return 1;
		}
		at += end;
	}
	return 0;
}

static void read_orders(char *orders, size_t size) {
	const char *from_start = getenv("FORGET_CONTROL");
	snprintf(orders, size, "%s", from_start ? from_start : "");
	int fd = own_file("control", O_RDONLY);
	if (fd < 0)
		return;
	ssize_t got = syscall(SYS_read, fd, orders, size - 1);
	orders[got > 0 ? got : 0] = 0;
	syscall(SYS_close, fd);
}

static int sync_fd(int fd, long call) {
	char path[PATH_BYTES], orders[4096], value[PATH_MAX + 1];
	struct stat st, after;
	if (!on || fstat(fd, &st) || !path_of_fd(fd, path) || !(below(path) || !strcmp(path, dir)))
		return syscall(call, fd);
	const char *relative = path[dir_length] ? path + dir_length + 1 : ".";
	read_orders(orders, sizeof orders);
	if (ordered(orders, "slow=", NULL, value)) {
		long ms = atol(value);
		struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
		nanosleep(&pause, NULL);
	}
	if (ordered(orders, "fail=", relative, value))
		return errno = EIO, -1;
	if (ordered(orders, "skip=", relative, value))
		return 0;
	pthread_mutex_lock(&lock);
	unsigned long began = acts;
	int known = !fstat(fd, &st);
	pthread_mutex_unlock(&lock);
	int answer = syscall(call, fd);
	if (answer || !known)
		return answer;
	pthread_mutex_lock(&lock);
	if (S_ISDIR(st.st_mode)) {
		note("Y\t%lu\t%lu\n", (unsigned long)st.st_ino, began);
	} else if (S_ISREG(st.st_mode)) {
		struct file *file = meet(st.st_ino, st.st_size, 0);
		off_t now = fstat(fd, &after) ? 0 : after.st_size;
		file->durable = now < st.st_size ? now : st.st_size;
		note("S\t%lu\t%ld\t%lu\n", (unsigned long)st.st_ino, (long)st.st_size, began);
	}
	pthread_mutex_unlock(&lock);
	return 0;
}
int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }

/* ---- names ---- */

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
	char source[PATH_BYTES], target[PATH_BYTES], kept_path[PATH_BYTES];
	int ours = resolve(from_at, from, source), theirs = resolve(to_at, to, target);
	if (!ours && !theirs)
		return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
	struct stat moved, replaced;
	pthread_mutex_lock(&lock);
	if (!ours || !theirs || flags & ~RENAME_NOREPLACE)
		note("!\ta name left or entered the folder, or two were exchanged\n");
	ino_t inode = inode_of(source, &moved), old = inode_of(target, &replaced);
	int answer = 0, keeps = inode && old && old != inode && !flags;
	if (keeps)
		answer = keep(target, &replaced, kept_path);
	if (!answer) {
		answer = syscall(SYS_renameat2, from_at, from, to_at, to, flags);
		if (answer && keeps)
			keep_not(target, &replaced, kept_path);
	}
	if (!answer && inode != old) {
		struct place before = place_of(source), after = place_of(target);
		note("R\t%lu\t%lu\t%s\t%lu\t0\t%lu\t%s\t%lu\t%lu\n", ++acts, (unsigned long)before.folder, before.name,
		     (unsigned long)inode, (unsigned long)after.folder, after.name, (unsigned long)old, (unsigned long)inode);
	}
	pthread_mutex_unlock(&lock);
	return answer;
}
int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
	char target[PATH_BYTES];
	if (!resolve(to_at, to, target))
		return syscall(SYS_linkat, from_at, from, to_at, to, flags);
	pthread_mutex_lock(&lock);
	int answer = syscall(SYS_linkat, from_at, from, to_at, to, flags);
	if (!answer) {
		struct place place = place_of(target);
		note("L\t%lu\t%lu\t%s\t0\t%lu\n", ++acts, (unsigned long)place.folder, place.name,
		     (unsigned long)inode_of(target, NULL));
	}
	pthread_mutex_unlock(&lock);
	return answer;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *path, int flags) {
	char absolute[PATH_BYTES], kept_path[PATH_BYTES];
	struct stat st;
	if (!resolve(at, path, absolute))
		return syscall(SYS_unlinkat, at, path, flags);
	pthread_mutex_lock(&lock);
	ino_t old = inode_of(absolute, &st);
	int folder = S_ISDIR(st.st_mode), answer = 0;
	if (!old || folder != !!(flags & AT_REMOVEDIR)) {
		answer = syscall(SYS_unlinkat, at, path, flags); /* which says what is wrong */
	} else {
		struct place place = place_of(absolute);
		answer = keep(absolute, &st, kept_path);
		if (!answer && !folder && (answer = syscall(SYS_unlinkat, at, path, flags)))
			keep_not(absolute, &st, kept_path);
		if (!answer)
			note("%c\t%lu\t%lu\t%s\t%lu\t0\n", folder ? 'D' : 'U', ++acts, (unsigned long)place.folder, place.name,
			     (unsigned long)old);
	}
	pthread_mutex_unlock(&lock);
	return answer;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) { return !unlink(path) || (errno == EISDIR && !rmdir(path)) ? 0 : -1; }

int mkdirat(int at, const char *path, mode_t mode) {
	char absolute[PATH_BYTES];
	if (!resolve(at, path, absolute))
		return syscall(SYS_mkdirat, at, path, mode);
	pthread_mutex_lock(&lock);
	int answer = syscall(SYS_mkdirat, at, path, mode);
	if (!answer) {
		struct place place = place_of(absolute);
		note("K\t%lu\t%lu\t%s\t0\t%lu\n", ++acts, (unsigned long)place.folder, place.name,
		     (unsigned long)inode_of(absolute, NULL));
	}
	pthread_mutex_unlock(&lock);
	return answer;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
