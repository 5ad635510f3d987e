/* The floor: one epoll loop that sends every client a frame 20 times a second, reads what comes, and does nothing else.
 *
 *   floor --port P [--bytes 300]
 *
 * What any server of the same messages must at least spend. It does not even check the upgrade. Prints "ready".
 */
#include "frames.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_MAX = 65536, TICK_NS = 50000000 };

static uint8_t playing[FDS_MAX];
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

static int listening(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0)
        fail("listen");
    return fd;
}

static void welcome(int epoll, int server)
{
    int on = 1, fd;
    while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (fd >= FDS_MAX || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            close(fd);
        else
            playing[fd] = 1;
    }
}

static void hear(int fd)
{
    static uint8_t data[65536];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        playing[fd] = 0;
        close(fd);
    } else if (playing[fd] == 1 && got > 0) {
        playing[fd] = 2;
        send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
    }
}

int main(int argc, char **argv)
{
    static uint8_t payload[65536], frame[65600];
    size_t size = (size_t)number(argc, argv, "--bytes", "300") - 4;
    int epoll = epoll_create1(0), server = listening((int)number(argc, argv, "--port", "0"));
    struct epoll_event events[512], event = {.events = EPOLLIN, .data.fd = server};
    payload[0] = 1;
    size = write_frame(frame, 2, payload, size, 0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event);
    printf("ready\n");
    fflush(stdout);
    for (uint64_t due = now_ns() + TICK_NS;;) {
        uint64_t now = now_ns();
        if (now >= due) {
            for (int fd = 0; fd < FDS_MAX; fd++)
                if (playing[fd] == 2)
                    send(fd, frame, size, MSG_NOSIGNAL);
            due += TICK_NS;
            continue;
        }
        int ready = epoll_wait(epoll, events, 512, (int)((due - now) / 1000000) + 1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == server)
                welcome(epoll, server);
            else
                hear(events[i].data.fd);
    }
}
