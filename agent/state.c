#include "agent/state.h"

#include "base/own.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define STATE_MAGIC "podtermS"
#define STATE_VERSION 8
#define STATE_PAGE 4096
#define STATE_HEAD_BYTES                                                       \
    ((sizeof(struct state_head) + STATE_PAGE - 1) / STATE_PAGE * STATE_PAGE)
#define STATE_MAP_BYTES (STATE_HEAD_BYTES + STATE_SPEC_MAX + STATE_ENV_MAX)

static bool state_ring_is_sane(uint64_t bytes)
{
    return bytes >= STATE_RING_MIN && bytes <= STATE_RING_MAX &&
           (bytes & (bytes - 1)) == 0;
}

/* A torn or foreign head is refused: better a lost session than one that
 * goes on from numbers that are not true. */
static int state_head_check(const struct state_head *h, int64_t file_bytes,
                            struct err *e)
{
    if (memcmp(h->magic, STATE_MAGIC, sizeof(h->magic)) != 0)
        return err_set(e, ERR_SYSTEM, "state file is not one of ours");
    if (h->version != STATE_VERSION ||
        h->head_bytes != sizeof(struct state_head))
        return err_set(e, ERR_SYSTEM,
                       "state file is of version %u, this agent writes %d",
                       h->version, STATE_VERSION);
    if (!state_ring_is_sane(h->ring_bytes) ||
        (int64_t)(STATE_MAP_BYTES + h->ring_bytes) != file_bytes)
        return err_set(e, ERR_SYSTEM, "state file has a wrong size");
    if (h->spec_len > STATE_SPEC_MAX || h->env_len > STATE_ENV_MAX ||
        h->phase > PHASE_ENDED || h->reason >= REASON_COUNT ||
        h->end_wanted >= REASON_COUNT || h->stage_count > STATE_STAGES ||
        h->output_oldest > h->output_end ||
        h->output_end - h->output_oldest > h->ring_bytes ||
        h->output_acked > h->output_end || h->output_seen > h->output_end ||
        h->viewers_at > 1 ||
        h->viewers[h->viewers_at].count > FRAME_VIEWERS_MAX ||
        h->is_activated > 1)
        return err_set(e, ERR_SYSTEM, "state file does not agree with itself");
    return 0;
}

static int state_map(struct state *s, int fd, struct err *e)
{
    uint8_t *twice;

    s->head =
        mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s->head == MAP_FAILED) {
        s->head = NULL;
        return err_sys(e, "map state file");
    }
    s->spec = (char *)s->head + STATE_HEAD_BYTES;
    s->env = s->spec + STATE_SPEC_MAX;

    twice = mmap(NULL, 2 * s->ring_bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (twice == MAP_FAILED)
        return err_sys(e, "map ring");
    s->ring = twice;
    for (size_t i = 0; i < 2; i++)
        if (mmap(twice + i * s->ring_bytes, s->ring_bytes,
                 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 (off_t)s->map_bytes) == MAP_FAILED)
            return err_sys(e, "map ring");
    return 0;
}

static int state_make(struct state *s, int fd, struct err *e)
{
    const size_t bytes = s->map_bytes + s->ring_bytes;
    int r;

    if (ftruncate(fd, 0) < 0)
        return err_sys(e, "empty the state file");
    /* Reserve the blocks now: a full disk is an error here, and would be a
     * SIGBUS in the middle of a session later. */
    r = posix_fallocate(fd, 0, (off_t)bytes);
    if (r) {
        if (ftruncate(fd, 0) < 0) /* a part may have been had */
            return err_sys(e, "empty the state file");
        return err_set(e, ERR_SYSTEM,
                       "%s for the session's state (%zu KiB): free some there, "
                       "or choose another state directory",
                       strerror(r), (bytes + 1023) / 1024);
    }
    if (state_map(s, fd, e) < 0)
        return -1;
    s->head->version = STATE_VERSION;
    s->head->head_bytes = sizeof(struct state_head);
    s->head->ring_bytes = s->ring_bytes;
    s->head->exit_kind = -1;
    return 0;
}

/* 1: a whole file to resume, its ring size in s; 0: nothing kept in it yet */
static int state_look(struct state *s, int fd, int64_t size, struct err *e)
{
    static const char empty[8];
    struct state_head *h;
    int r = 1;

    if (size < (int64_t)STATE_HEAD_BYTES)
        return size == 0
                   ? 0
                   : err_set(e, ERR_SYSTEM, "state file has a wrong size");
    h = mmap(NULL, STATE_HEAD_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (h == MAP_FAILED)
        return err_sys(e, "map state file");
    if (memcmp(h->magic, empty, sizeof(empty)) == 0)
        r = 0;
    else if (state_head_check(h, size, e) < 0)
        r = -1;
    else
        s->ring_bytes = h->ring_bytes;
    munmap(h, STATE_HEAD_BYTES);
    return r;
}

/* The guard's byte for offset i of the output: 0xf5..0xff and two more never
 * stand in UTF-8. By offset, so that a short read leaves the rest valid. */
static uint8_t state_guard_byte(size_t i)
{
    static const uint8_t never[13] = {0xf5, 0xc0, 0xfe, 0xfa, 0xf8, 0xc1, 0xff,
                                      0xf6, 0xfc, 0xf9, 0xfb, 0xf7, 0xfd};

    return never[(i + i / 13) % sizeof(never)];
}

static void state_guard_make(struct state *s)
{
    for (size_t i = 0; i < sizeof(s->guard); i++)
        s->guard[i] = state_guard_byte(i % STATE_GUARD_PERIOD);
}

static void state_guard_lay(struct state *s, uint64_t from, uint64_t end)
{
    const size_t turn = sizeof(s->guard) - STATE_GUARD_PERIOD;

    while (from < end) {
        size_t n = end - from < turn ? (size_t)(end - from) : turn;

        memcpy(s->ring + (from & (s->ring_bytes - 1)),
               s->guard + from % STATE_GUARD_PERIOD, n);
        from += n;
    }
}

/* The process before us was killed between a read and its state_ring_advance:
 * what it read ends where the guard is whole again. */
static void state_guard_recover(struct state *s)
{
    struct state_head *h = s->head;
    uint64_t end = h->guard_end;

    h->guard_end = 0;
    if (end <= h->output_end || end - h->output_end > STATE_GUARD_BYTES ||
        end - h->output_oldest > s->ring_bytes)
        return;
    while (end > h->output_end && s->ring[(end - 1) & (s->ring_bytes - 1)] ==
                                      s->guard[(end - 1) % STATE_GUARD_PERIOD])
        end--;
    state_ring_advance(s, (size_t)(end - h->output_end));
}

void state_ring_guard(struct state *s, size_t len)
{
    struct state_head *h = s->head;
    uint64_t end = h->output_end + len, from = h->guard_end;

    assert(len <= STATE_GUARD_BYTES);
    if (from >= end)
        return;
    state_guard_lay(s, from > h->output_end ? from : h->output_end, end);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    h->guard_end = end; /* killed before: what lay there lies there */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static int state_open_fd(struct state *s, int fd, struct err *e)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return err_sys(e, "stat");
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077) != 0)
        return err_set(e, ERR_SYSTEM,
                       "must be a regular file of this user that nobody "
                       "else may open (chmod 600)");
    r = state_look(s, fd, st.st_size, e);
    s->is_resumed = r != 0;
    if (r < 0)
        return -1;
    state_guard_make(s);
    if (r == 0)
        return state_make(s, fd, e);
    if (state_map(s, fd, e) < 0)
        return -1;
    state_guard_recover(s);
    return 0;
}

int state_open(struct state *s, const char *path, size_t ring_bytes,
               struct err *e)
{
    own_fd int fd = -1;

    *s = (struct state){.ring_bytes = ring_bytes, .map_bytes = STATE_MAP_BYTES};
    if (!state_ring_is_sane(ring_bytes))
        return err_set(e, ERR_INPUT,
                       "ring of %zu bytes: must be a power of two, %d to %d",
                       ring_bytes, STATE_RING_MIN, STATE_RING_MAX);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM,
                       "%s: the session's state file %s cannot be made; its "
                       "directory must be there, with room, and be uid %u's",
                       strerror(errno), path, (unsigned)geteuid());
    if (state_open_fd(s, fd, e) < 0) {
        state_close(s);
        return err_wrap(e, "%s", path);
    }
    s->head->restarts++;
    return 0;
}

void state_close(struct state *s)
{
    if (!s)
        return;
    if (s->head)
        munmap(s->head, s->map_bytes);
    if (s->ring)
        munmap(s->ring, 2 * s->ring_bytes);
    s->head = NULL;
    s->ring = NULL;
}

bool state_is_there(const char *path)
{
    static const char empty[8];
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char magic[8];

    return fd >= 0 && read(fd, magic, sizeof(magic)) > 0 &&
           memcmp(magic, empty, sizeof(empty)) != 0;
}

int state_spec_set(struct state *s, const char *text, size_t len,
                   const char *env, size_t env_len, struct err *e)
{
    if (len > STATE_SPEC_MAX)
        return err_set(e, ERR_INPUT, "spec has %zu bytes, at most %d", len,
                       STATE_SPEC_MAX);
    if (env_len > STATE_ENV_MAX)
        return err_set(e, ERR_INPUT, "env has %zu bytes, at most %d", env_len,
                       STATE_ENV_MAX);
    memcpy(s->spec, text, len);
    memcpy(s->env, env, env_len);
    s->head->spec_len = (uint32_t)len;
    s->head->env_len = (uint32_t)env_len;
    memcpy(s->head->magic, STATE_MAGIC, sizeof(s->head->magic));
    return 0;
}

void state_env_wipe(struct state *s)
{
    s->head->env_len = 0;
    explicit_bzero(s->env, STATE_ENV_MAX);
}

uint8_t *state_ring_tail(struct state *s, uint64_t keep_from, size_t *room)
{
    struct state_head *h = s->head;
    uint64_t held, end;

    if (keep_from < h->output_oldest)
        keep_from = h->output_oldest;
    held = h->output_end > keep_from ? h->output_end - keep_from : 0;
    if (*room > s->ring_bytes - held)
        *room = s->ring_bytes - held;
    if (*room == 0)
        return NULL;
    end = h->output_end + *room;
    if (end - h->output_oldest > s->ring_bytes) {
        h->output_oldest = end - s->ring_bytes;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
    return s->ring + (h->output_end & (s->ring_bytes - 1));
}

void state_ring_advance(struct state *s, size_t len)
{
    assert(len <= s->ring_bytes);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    s->head->output_end += len;
    assert(s->head->output_end - s->head->output_oldest <= s->ring_bytes);
}

const uint8_t *state_ring_at(const struct state *s, uint64_t offset,
                             size_t *len)
{
    const struct state_head *h = s->head;

    assert(offset >= h->output_oldest && offset <= h->output_end);
    if (*len > h->output_end - offset)
        *len = h->output_end - offset;
    return s->ring + (offset & (s->ring_bytes - 1));
}

int state_jti_add(struct state *s, const char *jti, enum role role,
                  int64_t forget_s, int64_t now_s, struct err *e)
{
    struct state_jti *slot = NULL;
    int viewers = 0;

    for (int i = 0; i < STATE_JTIS; i++) {
        struct state_jti *j = &s->head->jtis[i];

        if (j->forget_s <= now_s) {
            if (!slot)
                slot = j;
        } else if (strncmp(j->id, jti, sizeof(j->id)) == 0) {
            return err_set(e, ERR_TOKEN, "token id was used before");
        } else if (j->is_viewer) {
            viewers++;
        }
    }
    if (role == ROLE_VIEWER && viewers >= STATE_JTIS_VIEWERS)
        return err_set(e, ERR_BUSY, "%d attachments of viewers within a minute",
                       STATE_JTIS_VIEWERS);
    if (!slot)
        return err_set(e, ERR_BUSY, "%d attachments within a minute",
                       STATE_JTIS);
    snprintf(slot->id, sizeof(slot->id), "%s", jti);
    slot->is_viewer = role == ROLE_VIEWER;
    slot->forget_s = forget_s;
    return 0;
}

const struct frame_viewers *state_viewers(const struct state *s)
{
    return &s->head->viewers[s->head->viewers_at];
}

/* Beside the one in force, which goes on to be so until all of it is there. */
int state_viewers_set(struct state *s, const struct frame_viewers *v,
                      struct err *e)
{
    const struct frame_viewers *now = state_viewers(s);
    uint32_t spare = !s->head->viewers_at;

    if (v->version > now->version) {
        s->head->viewers[spare] = *v;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        s->head->viewers_at = spare;
        return 0;
    }
    if (v->version == 0 || v->version < now->version ||
        memcmp(v->subjects, now->subjects, sizeof(v->subjects)) != 0)
        return err_set(
            e, ERR_INPUT, "viewers of version %llu, those of %llu are in force",
            (unsigned long long)v->version, (unsigned long long)now->version);
    return 0;
}

struct state_stage *state_stage_set(struct state *s, const char *stage,
                                    const char *st, const char *detail,
                                    int64_t done, int64_t total,
                                    int64_t now_wall_ms)
{
    struct state_head *h = s->head;
    struct state_stage *at = NULL;

    for (uint32_t i = 0; i < h->stage_count && !at; i++)
        if (strcmp(h->stages[i].stage, stage) == 0)
            at = &h->stages[i];
    if (!at) {
        if (h->stage_count < STATE_STAGES)
            h->stage_count++;
        at = &h->stages[h->stage_count - 1];
    }
    snprintf(at->stage, sizeof(at->stage), "%s", stage);
    snprintf(at->state, sizeof(at->state), "%s", st);
    snprintf(at->detail, sizeof(at->detail), "%s", detail ? detail : "");
    at->done = done;
    at->total = total;
    at->ms = now_wall_ms - h->created_ms;
    return at;
}
