// The upstream: answers every POST with the same event stream, one chunk an event, one send a chunk.
// Usage: source FRAMES_FILE GAP_US HOLD_AFTER CONTENT_TYPE. Prints the port it listens on.
// FRAMES_FILE holds events, each behind a line with its size. GAP_US 0 sends all of them at once. HOLD_AFTER n > 0
// sends n events and then nothing until the peer hangs up. A GET is answered with how many answers are unfinished.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PEER_LIMIT = 1024, FRAME_LIMIT = 4096, HEAD_BYTES = 16384, RECV_BYTES = 262144 };
enum state { READING, SENDING, HOLDING };

struct peer {
    enum state state;
    char head[HEAD_BYTES];
    size_t head_bytes, body_left;
    int in_body, next;
    long long due_ns;
};

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncache-control: no-cache\r\n"
    "request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n";
static const char END[] = "0\r\n\r\n";

static struct pollfd watched[PEER_LIMIT + 1];
static struct peer *peers[PEER_LIMIT + 1];
static int watched_count = 1, frame_count, hold_after;
static long long gap_ns;
static char *frames[FRAME_LIMIT], *everything, received[RECV_BYTES];
static size_t frame_bytes[FRAME_LIMIT], everything_bytes;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static char *append(char *text, size_t *bytes, const char *more, size_t more_bytes) {
    text = realloc(text, *bytes + more_bytes);
    if (!text) fail("realloc");
    memcpy(text + *bytes, more, more_bytes);
    *bytes += more_bytes;
    return text;
}

// Puts the head before the first frame and chunk framing around each, so that sending is one call.
static void load_frames(const char *path, const char *content_type) {
    FILE *file = fopen(path, "rb");
    size_t bytes;
    char head[512];
    int head_bytes = snprintf(head, sizeof head, ANSWER, content_type);
    if (head_bytes < 0 || (size_t)head_bytes >= sizeof head) fail("content type");
    if (!file) fail(path);
    while (frame_count < FRAME_LIMIT && fscanf(file, "%zu", &bytes) == 1) {
        char size[32], *event = malloc(bytes);
        if (fgetc(file) != '\n' || fread(event, 1, bytes, file) != bytes) fail("frames");
        size_t *total = &frame_bytes[frame_count];
        char *frame = frame_count ? NULL : append(NULL, total, head, head_bytes);
        frame = append(frame, total, size, sprintf(size, "%zx\r\n", bytes));
        frame = append(append(frame, total, event, bytes), total, "\r\n", 2);
        everything = append(everything, &everything_bytes, frame, *total);
        frames[frame_count++] = frame;
        free(event);
    }
    everything = append(everything, &everything_bytes, END, sizeof END - 1);
    fclose(file);
}

static void drop(int index) {
    close(watched[index].fd);
    free(peers[index]);
    watched[index] = watched[--watched_count];
    peers[index] = peers[watched_count];
}

// Gives 0 when the peer is gone.
static int write_all(int fd, const char *text, size_t bytes) {
    while (bytes) {
        ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        text += sent;
        bytes -= sent;
    }
    return 1;
}

static int send_next(int index) {
    struct peer *peer = peers[index];
    int fd = watched[index].fd;
    if (!gap_ns && !hold_after) {
        peer->state = READING;
        return write_all(fd, everything, everything_bytes);
    }
    if (!write_all(fd, frames[peer->next], frame_bytes[peer->next])) return 0;
    peer->due_ns = now_ns() + gap_ns;
    if (++peer->next == hold_after) peer->state = HOLDING;
    if (peer->next < frame_count) return 1;
    peer->state = READING;
    return write_all(fd, END, sizeof END - 1);
}

static int tell_unfinished(int fd) {
    char answer[128], body[16];
    int unfinished = 0;
    for (int i = 1; i < watched_count; i++) unfinished += peers[i]->state != READING;
    sprintf(body, "%d", unfinished);
    sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s", strlen(body), body);
    return write_all(fd, answer, strlen(answer));
}

// The head has arrived: whether a body follows, and what to do once all of it is here.
static int begin(int index) {
    struct peer *peer = peers[index];
    char *length = strcasestr(peer->head, "\r\ncontent-length:");
    peer->body_left = length ? strtoull(length + 17, NULL, 10) : 0;
    peer->in_body = 1;
    if (strncmp(peer->head, "GET ", 4)) return 1;
    peer->in_body = peer->head_bytes = 0;
    return tell_unfinished(watched[index].fd);
}

static int take(int index) {
    struct peer *peer = peers[index];
    ssize_t count = recv(watched[index].fd, received, sizeof received, 0);
    if (count <= 0) return 0;
    size_t used = 0;
    while (!peer->in_body && used < (size_t)count) {
        if (peer->head_bytes == HEAD_BYTES - 1) return 0;
        peer->head[peer->head_bytes++] = received[used++];
        if (peer->head_bytes < 4 || memcmp(peer->head + peer->head_bytes - 4, "\r\n\r\n", 4)) continue;
        peer->head[peer->head_bytes] = 0;
        if (!begin(index)) return 0;
    }
    if (!peer->in_body) return 1;
    size_t rest = count - used;
    peer->body_left -= rest < peer->body_left ? rest : peer->body_left;
    if (peer->body_left) return 1;
    peer->in_body = peer->head_bytes = peer->next = 0;
    peer->state = SENDING;
    return send_next(index);
}

static void greet(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), yes = 1;
    if (fd < 0) return;
    if (watched_count > PEER_LIMIT) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    peers[watched_count] = calloc(1, sizeof(struct peer));
    watched[watched_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void wait_for_work(void) {
    long long due = -1, now = now_ns();
    for (int i = 1; i < watched_count; i++)
        if (peers[i]->state == SENDING && (due < 0 || peers[i]->due_ns < due)) due = peers[i]->due_ns;
    long long wait = due > now ? due - now : 0;
    struct timespec bound = {.tv_sec = wait / 1000000000LL, .tv_nsec = wait % 1000000000LL};
    ppoll(watched, watched_count, due < 0 ? NULL : &bound, NULL);
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (count != 5 || listener < 0) fail("source FRAMES_FILE GAP_US HOLD_AFTER CONTENT_TYPE");
    load_frames(arguments[1], arguments[4]);
    gap_ns = atoll(arguments[2]) * 1000;
    hold_after = atoi(arguments[3]);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    prctl(PR_SET_TIMERSLACK, 1000L);
    watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        wait_for_work();
        if (watched[0].revents & POLLIN) greet(listener);
        for (int i = watched_count - 1; i > 0; i--) {
            int is_due = peers[i]->state == SENDING && peers[i]->due_ns <= now_ns();
            if (watched[i].revents && !take(i)) drop(i);
            else if (is_due && !send_next(i)) drop(i);
        }
    }
}
