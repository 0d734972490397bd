internal import CPathEmulator

/// A failure to set up, with the stage and the kernel's words.
public struct EmulatorError: Error, Sendable {
    public let text: String

    init(_ stage: String, _ code: Int32 = 0) {
        // SAFETY: strerror returns a valid string, which is copied at once.
        text = code == 0 ? stage : "\(stage): \(unsafe String(cString: strerror(-code)))"
    }
}

/// A tap with virtio-net headers, in whatever namespace.
struct TapDevice: Sendable {
    let number: Int32

    /// Attaches to a tap, making it where it does not exist; it goes away with this process unless it is persistent.
    /// - Parameter place: `INTERFACE`, or `NAMESPACE:INTERFACE` with a path such as /run/netns/NAME.
    init(_ place: String) throws(EmulatorError) {
        let colon = place.lastIndex(of: ":")
        let name = colon.map { String(place[place.index(after: $0)...]) } ?? place
        guard !name.isEmpty, name.utf8.count < Int(IFNAMSIZ) else { throw EmulatorError("no interface name: \(place)") }
        // SAFETY: the strings live as long as the calls.
        let here = unsafe path_open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        defer { path_close(here) }
        if let colon {
            let path = String(place[..<colon])
            let there = unsafe path_open(path, O_RDONLY | O_CLOEXEC)
            if there < 0 { throw EmulatorError(path, there) }
            let entered = path_setns(there)
            path_close(there)
            if entered < 0 { throw EmulatorError("enter \(path)", entered) }
        }
        defer { _ = path_setns(here) }
        number = unsafe path_open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
        if number < 0 { throw EmulatorError("/dev/net/tun", number) }
        let attached = unsafe path_attach_tap(number, name)
        if attached < 0 { throw EmulatorError("attach \(place)", attached) }
        let offloads = path_set_offloads(number)
        if offloads < 0 { throw EmulatorError("offloads of \(place)", offloads) }
    }

    /// Reads a frame away; false if there was none.
    func discardFrame() -> Bool {
        var nothing: UInt64 = 0
        // SAFETY: the kernel writes at most 8 bytes and drops the rest of the frame.
        return unsafe path_read(number, &nothing, 8) > 0
    }
}
