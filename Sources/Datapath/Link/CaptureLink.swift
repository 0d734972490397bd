internal import Linux
internal import Wire

/// Writes every frame that crosses another link to a capture file, where one was asked for.
struct CaptureLink<Inner: GuestLink & ~Copyable>: GuestLink, ~Copyable {
    private var inner: Inner
    private var capture: CaptureFile?

    init(_ inner: consuming Inner, capture: consuming CaptureFile?) {
        self.inner = inner
        self.capture = capture
    }

    var descriptor: Descriptor { inner.descriptor }
    /// What is written to the file are whole frames, without gaps.
    var offloads: LinkOffloads { capture == nil ? inner.offloads : inner.offloads.subtracting(.runs) }
    var hasRoom: Bool { mutating get { inner.hasRoom } }
    var hasNews: Bool { inner.hasNews }
    var batchSize: LinkBatch { inner.batchSize }
    var figures: LinkFigures { inner.figures }
    var moreDescriptors: Int { inner.moreDescriptors }
    var hasGuest: Bool { inner.hasGuest }
    var takesAnyLength: Bool { inner.takesAnyLength }
    var hasLostGuest: Bool { inner.hasLostGuest }

    mutating func watch(by epoll: Epoll) throws(Errno) { try inner.watch(by: epoll) }
    mutating func attend(_ part: Int, _ events: Epoll.Events) -> LinkEvent { inner.attend(part, events) }
    mutating func resume() { inner.resume() }
    mutating func takeNews() -> LinkEvent { inner.takeNews() }
    mutating func prepareToWait() -> Bool { inner.prepareToWait() }
    mutating func awaitAnother() -> Bool { inner.awaitAnother() }
    mutating func takeTransfer() -> StateTransfer? { inner.takeTransfer() }
    mutating func endTransfer(_ isDone: Bool) { inner.endTransfer(isDone) }
    mutating func reserveRun(_ count: Int, _ arena: inout Mapping) -> Int? { inner.reserveRun(count, &arena) }

    mutating func takeNotice() -> GuestNotice? {
        if let notice = inner.takeNotice() { return notice }
        return capture?.takeNotice()
    }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        let first = batch.count
        let isOpen = inner.receive(into: &batch)
        if capture != nil {
            for index in first..<batch.count {
                let frame = batch[index]
                capture?.write(batch.arena, offset: frame.offset, length: frame.length)
            }
        }
        return isOpen
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        let verdict = inner.send(frame, in: &arena)
        // What was refused comes again. Links write before a frame and complete its checksum, and leave it where it is until they are flushed.
        if verdict == .sent { capture?.write(arena, offset: frame.offset, length: frame.length) }
        return verdict
    }

    mutating func flush(_ arena: inout Mapping) { inner.flush(&arena) }
}

/// A file in the classic pcap format (link type Ethernet, nanoseconds), written as frames come.
///
/// A super-frame longer than the file's snapshot length is cut, and says so: its record holds both lengths.
struct CaptureFile: ~Copyable {
    private let file: Descriptor
    private var header: Mapping
    private var pieces: ScatterList
    /// Nothing more can be written, or nothing that could be read.
    private var hasEnded = false
    private var lacksFrames = false
    /// The end of a record that a pipe had no room for. Until it has, frames are missing.
    private var rest: Mapping
    private var restRange = 0..<0
    private var notice: GuestNotice?

    private static var snapshotLength: Int { 65535 }
    /// Before each frame.
    private static var recordHeader: Int { 16 }

    /// Writes the file's header. The descriptor is ours from here on.
    init(_ file: Descriptor) throws(Errno) {
        var header = try Mapping(byteCount: 24)
        var bytes = header.mutableBytes
        bytes.storeNative(UInt32(0xa1b2_3c4d), at: 0)  // nanoseconds
        bytes.storeNative(UInt16(2), at: 4)
        bytes.storeNative(UInt16(4), at: 6)
        bytes.storeNative(UInt32(0), at: 8)
        bytes.storeNative(UInt32(0), at: 12)
        bytes.storeNative(UInt32(CaptureFile.snapshotLength), at: 16)
        bytes.storeNative(UInt32(1), at: 20)  // LINKTYPE_ETHERNET
        // Who reads a pipe may pause; traffic must not.
        try file.setNonBlocking()
        let outcome = file.write(from: header, offset: 0, length: 24)
        if let error = outcome.error { throw error }
        let pieces = try ScatterList(capacity: 2)
        let rest = try Mapping(byteCount: CaptureFile.recordHeader + CaptureFile.snapshotLength)
        self.rest = rest
        self.header = header
        self.pieces = pieces
        self.file = file
    }

    mutating func write(_ arena: borrowing Mapping, offset: Int, length: Int) {
        if hasEnded { return }
        guard writeRest() else { return }
        let now = realtimeNanoseconds()
        let kept = min(length, CaptureFile.snapshotLength)
        var bytes = header.mutableBytes
        bytes.storeNative(UInt32(truncatingIfNeeded: now / 1_000_000_000), at: 0)
        bytes.storeNative(UInt32(truncatingIfNeeded: now % 1_000_000_000), at: 4)
        bytes.storeNative(UInt32(truncatingIfNeeded: kept), at: 8)
        bytes.storeNative(UInt32(truncatingIfNeeded: length), at: 12)
        // As a rule once. Where a disk becomes full, the kernel says first how much it took, and why no more with the next call.
        var done = 0
        while done < CaptureFile.recordHeader + kept {
            let frameDone = max(done - CaptureFile.recordHeader, 0)
            pieces.removeAll()
            if done < CaptureFile.recordHeader { _ = pieces.append(header, offset: done, length: CaptureFile.recordHeader - done) }
            _ = pieces.append(arena, offset: offset + frameDone, length: kept - frameDone)
            let outcome = pieces.write(to: file)
            if outcome.wouldBlock, done > 0 {
                restRange = 0..<pieces.copy(skipping: 0, to: &rest, at: 0)
                return
            }
            if outcome.count == 0 { return fail(outcome.error ?? Errno(5), isTorn: done > 0) }  // EIO
            done += outcome.count
        }
    }

    /// False where that is not possible yet, or not at all.
    private mutating func writeRest() -> Bool {
        while !restRange.isEmpty {
            pieces.removeAll()
            _ = pieces.append(rest, offset: restRange.lowerBound, length: restRange.count)
            let outcome = pieces.write(to: file)
            if outcome.count == 0 {
                fail(outcome.error ?? Errno(5), isTorn: !outcome.wouldBlock)  // EIO
                return false
            }
            restRange = (restRange.lowerBound + outcome.count)..<restRange.upperBound
        }
        return true
    }

    /// A full pipe or a lack of memory passes, and a frame is missing then. Anything else (a full disk, a quota, a limit of size, a pipe that nobody reads any
    /// more) would come again with every frame, at the price of a call each. And behind half a record nothing could be read any more: what is there is kept, and
    /// nothing follows.
    private mutating func fail(_ error: Errno, isTorn: Bool) {
        let passes = error.code == 11 || error.isLackOfResources  // EAGAIN
        hasEnded = isTorn || !passes
        if hasEnded {
            notice = .captureEnded(error)
        } else if !lacksFrames {
            notice = .captureLacksFrames(error)
            lacksFrames = true
        }
    }

    /// Each is told once.
    mutating func takeNotice() -> GuestNotice? {
        defer { notice = nil }
        return notice
    }
}
