import Glibc
import Linux
import Testing

@testable import Datapath

/// Machines that come and go.
struct MachineConnectionTests {
    /// A listener, a link's connection and an epoll that watches both.
    private final class Lobby {
        let path: String
        let listener: Descriptor
        let epoll: Epoll
        var connection: MachineConnection
        var figures = LinkFigures()
        private var machines: [Descriptor] = []

        init() throws {
            path = "/tmp/machines-\(getpid())-\(UInt32.random(in: 0 ... .max))"
            listener = try UnixSocket.bind(.stream, to: path)
            epoll = try Epoll()
            connection = MachineConnection(listener: listener, client: .none, isOneOff: false)
            try connection.watch(by: epoll, &figures)
        }

        deinit {
            for machine in machines { machine.close() }
            connection.client.close()
            listener.close()
            epoll.descriptor.close()
            unsafe unlink(path)
        }

        /// A machine's end.
        @discardableResult
        func connect() throws -> Descriptor {
            let machine = try Descriptor.connect(toLocal: path)
            machines.append(machine)
            return machine
        }

        func accept(expecting expected: LinkEvent) {
            let event = connection.accept(&figures)
            #expect(event == expected)
        }

        func end() -> Bool { connection.end() }

        func leave(_ machine: Descriptor) {
            machines.removeAll { $0.number == machine.number }
            machine.close()
        }

        /// How many events there are now.
        func eventCount() throws -> Int {
            var list = try EventList(capacity: 4)
            try list.wait(on: epoll, nanoseconds: 0)
            return list.count
        }
    }

    /// A launcher may keep the socket that it has given us: what happens on it then is nobody's business any more.
    @Test func whatOthersHoldIsNotWatched() throws {
        let lobby = try Lobby()
        let machine = try lobby.connect()
        lobby.accept(expecting: .arrived)
        let copy = Descriptor(dup(lobby.connection.client.number))
        defer { copy.close() }
        #expect(lobby.end())
        lobby.leave(machine)
        #expect(try lobby.eventCount() == 0)
    }

    /// The next machine is here before the end of the last one was read: it has to wait for that, and is not turned away.
    @Test func aSuccessorIsNotTurnedAway() throws {
        let lobby = try Lobby()
        let first = try lobby.connect()
        lobby.accept(expecting: .arrived)
        try lobby.connect()
        lobby.accept(expecting: [])
        #expect(lobby.figures.turnedAway == 1)
        // With last words that nobody has read.
        let written = unsafe write(first.number, "abc", 3)
        #expect(written == 3)
        lobby.leave(first)
        try lobby.connect()
        lobby.accept(expecting: [])
        #expect(lobby.figures.turnedAway == 1)
        let mayAnotherCome = lobby.connection.end()
        #expect(mayAnotherCome)
        lobby.accept(expecting: .arrived)
        #expect(lobby.figures.guests == 2)
    }

    /// A machine whose socket cannot be watched, as where `fs.epoll.max_user_watches` is reached, is not let in, and the reason is told.
    @Test func whatCannotBeWatchedIsTold() throws {
        let lobby = try Lobby()
        let machine = try lobby.connect()
        // Something else is in the epoll's place, so that its answer is EINVAL.
        let null = try Descriptor.open("/dev/null", O_RDWR)
        defer { null.close() }
        try null.replace(lobby.epoll.descriptor.number)
        lobby.accept(expecting: [])
        let (notice, another) = (lobby.connection.takeNotice(), lobby.connection.takeNotice())
        #expect(notice == .unwatched(Errno(EINVAL)) && another == nil)
        #expect(machine.hasHungUp && !lobby.connection.client.isOpen)
    }

    /// A machine that cannot be let in for lack of descriptors is no reason to ask again and again: its connection waits until there may be some again.
    @Test func lackOfDescriptorsDoesNotSpin() async {
        // Limits are the process's.
        await #expect(processExitsWith: .success) {
            let lobby = try Lobby()
            try lobby.connect()
            try #require(try lobby.eventCount() == 1)
            var old = rlimit()
            unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old)
            var none = rlimit(rlim_cur: 0, rlim_max: old.rlim_max)
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none) == 0)
            let event = lobby.connection.accept(&lobby.figures)
            unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old)
            try #require(event == .waits)
            try #require(try lobby.eventCount() == 0)
            lobby.connection.resume()
            try #require(try lobby.eventCount() == 1)
            let next = lobby.connection.accept(&lobby.figures)
            try #require(next == .arrived)
        }
    }
}
