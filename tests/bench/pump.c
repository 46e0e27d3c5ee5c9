// The floor: a proxy that moves bytes and reads none of them. One thread, epoll, one recv and one send a wake-up.
// Usage: pump UPSTREAM_PORT. Prints the port it listens on.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FD_LIMIT = 4096, BUFFER_BYTES = 65536 };

static int peer_of[FD_LIMIT];
static char buffer[BUFFER_BYTES];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int poller, int fd) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted)) fail("epoll_ctl");
}

static void join(int poller, int client, int upstream_port) {
    struct sockaddr_in address = loopback(upstream_port);
    int upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (upstream < 0 || client >= FD_LIMIT || upstream >= FD_LIMIT) fail("socket");
    if (connect(upstream, (struct sockaddr *)&address, sizeof address)) fail("connect");
    peer_of[client] = upstream;
    peer_of[upstream] = client;
    watch(poller, client);
    watch(poller, upstream);
}

static void part(int fd) {
    int peer = peer_of[fd];
    peer_of[fd] = peer_of[peer] = 0;
    close(fd);
    close(peer);
}

static void move(int fd) {
    if (!peer_of[fd]) return;
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);
    if (count <= 0) {
        part(fd);
        return;
    }
    for (ssize_t sent = 0; sent < count;) {
        ssize_t step = send(peer_of[fd], buffer + sent, count - sent, MSG_NOSIGNAL);
        if (step < 0) {
            part(fd);
            return;
        }
        sent += step;
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poller = epoll_create1(EPOLL_CLOEXEC);
    if (count != 2 || listener < 0 || poller < 0) fail("pump UPSTREAM_PORT");
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted)) fail("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[64];
        int many = epoll_wait(poller, ready, 64, -1);
        for (int i = 0; i < many; i++) {
            int fd = ready[i].data.fd;
            if (fd != listener) move(fd);
            else if ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) join(poller, fd, atoi(arguments[1]));
        }
    }
}
