internal import CLinux

/// The memory of a virtual machine, as far as its monitor shares it: regions, each of which is a part of a file. The guest reads and writes it at any
/// time, so nothing in it is looked at twice: numbers are loaded, data is copied.
///
///     the guest's addresses    | region 0 |      | region 1          |
///     the monitor's            | region 1          |  | region 0 |
///     here                     | region 0 |  | region 1          |
@safe
public struct GuestMemory: ~Copyable {
    /// As many as a front-end may send at a time.
    public static var mostRegions: Int { 8 }

    private struct Region: BitwiseCopyable {
        var guest: UInt64 = 0
        var user: UInt64 = 0
        var byteCount = 0
        /// Where it starts here, at `offset` of what was mapped.
        var base: UInt = 0
        var offset = 0
        var mappedCount = 0
    }

    /// Something in a region. It stays harmless, and becomes worthless, once the regions change.
    public struct Place: BitwiseCopyable {
        fileprivate let region: Int
        fileprivate let offset: Int

        /// So many bytes further on.
        public static func + (place: Place, count: Int) -> Place { Place(region: place.region, offset: place.offset &+ count) }
    }

    // SAFETY: of the first `count` regions, each has `byteCount` mapped bytes at `base`, until `removeAll`.
    private var regions = InlineArray<8, Region>(repeating: Region())
    public private(set) var count = 0
    private var log = Log()
    /// Whether pages that are written to are noted in the log.
    public var isLogging = false

    /// Where the monitor finds which pages we have written to, while the machine moves to another host: one bit for each.
    private struct Log: BitwiseCopyable {
        static var page: UInt64 { 4096 }

        // SAFETY: `byteCount` bytes at `base` are mapped, until `closeLog`.
        var base: UInt = 0
        var byteCount = 0
        var mapped: UInt = 0
        var mappedCount = 0
    }

    public init() {}

    deinit {
        unmap()
        unmapLog()
    }

    /// Maps a region, which begins at `offset` of `file`; the file can be closed then. EINVAL for numbers that make no sense, or a file that is shorter: touching
    /// what is not there would end the process. (fstat, mmap)
    public mutating func add(_ file: Descriptor, offset: UInt64, byteCount: UInt64, guestAddress: UInt64, userAddress: UInt64) throws(Errno) {
        guard count < GuestMemory.mostRegions, byteCount > 0,
            !guestAddress.addingReportingOverflow(byteCount).overflow, !userAddress.addingReportingOverflow(byteCount).overflow
        else { throw Errno(EINVAL) }
        let (address, mappedCount) = try GuestMemory.map(file, offset, byteCount)
        regions[count] = Region(
            guest: guestAddress, user: userAddress, byteCount: Int(byteCount), base: address + UInt(offset), offset: Int(offset), mappedCount: mappedCount)
        count += 1
    }

    /// Maps `byteCount` bytes behind `offset` and what is before them: with huge pages, not every offset can be mapped. Where that is, and how much.
    private static func map(_ file: Descriptor, _ offset: UInt64, _ byteCount: UInt64) throws(Errno) -> (address: UInt, byteCount: Int) {
        let most = UInt64(1) << 56
        guard byteCount < most, offset < most else { throw Errno(EINVAL) }
        var status = stat()
        // SAFETY: the structure is written during the call.
        try Errno.check(unsafe linux_fstatat(file.number, "", &status, AT_EMPTY_PATH))
        let size = Int(offset + byteCount)
        // With huge pages, unmapping takes whole ones.
        let block = max(Int(status.st_blksize), 4096)
        let mapped = (size + block - 1) / block * block
        if status.st_mode & UInt32(S_IFMT) == UInt32(S_IFREG), status.st_size < size { throw Errno(EINVAL) }
        // SAFETY: a fresh mapping; that others write to it is what this type is made for.
        let address = unsafe mmap(nil, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.number, 0)
        guard let address = unsafe address, unsafe linux_mmap_failed(address) == 0 else { throw Errno(linux_errno()) }
        return (UInt(bitPattern: address), mapped)
    }

    /// Unmaps all. (munmap)
    public mutating func removeAll() {
        unmap()
        count = 0
    }

    private func unmap() {
        for index in 0..<count {
            let region = regions[index]
            // SAFETY: mapped by `add` with these numbers.
            unsafe munmap(UnsafeMutableRawPointer(bitPattern: region.base - UInt(region.offset)), region.mappedCount)
        }
    }

    // MARK: The log

    /// Takes a log in place of the last one. The file can be closed then. EINVAL as for `add`. (fstat, mmap)
    public mutating func openLog(_ file: Descriptor, offset: UInt64, byteCount: UInt64) throws(Errno) {
        closeLog()
        guard byteCount > 0 else { throw Errno(EINVAL) }
        let (address, mappedCount) = try GuestMemory.map(file, offset, byteCount)
        log = Log(base: address + UInt(offset), byteCount: Int(byteCount), mapped: address, mappedCount: mappedCount)
    }

    /// (munmap)
    public mutating func closeLog() {
        unmapLog()
        log = Log()
    }

    public var hasLog: Bool { log.byteCount > 0 }

    private func unmapLog() {
        // SAFETY: mapped by `openLog` with these numbers.
        if log.mappedCount > 0 { unsafe munmap(UnsafeMutableRawPointer(bitPattern: log.mapped), log.mappedCount) }
    }

    /// These bytes of the guest were written to. Noted only now: what is noted before may be taken from the log, and copied, before it is written.
    private func note(_ guestAddress: UInt64, _ byteCount: Int) {
        guard isLogging, byteCount > 0 else { return }
        for page in guestAddress / Log.page...(guestAddress &+ UInt64(byteCount) &- 1) / Log.page where page / 8 < log.byteCount {
            // SAFETY: the byte was just checked to be in the log.
            if let address = unsafe UnsafeMutableRawPointer(bitPattern: log.base &+ UInt(page / 8)) {
                unsafe linux_set_bits(address, 1 << UInt8(page % 8))
            }
        }
    }

    private func note(_ place: Place, _ byteCount: Int) { note(regions[place.region].guest &+ UInt64(place.offset), byteCount) }

    // MARK: Places

    /// Where `byteCount` bytes lie at an address of the guest, in one region; nil where they do not, or not at a multiple of `alignment`.
    public func place(ofGuest address: UInt64, _ byteCount: Int, alignment: Int) -> Place? {
        find(address).flatMap { check($0, byteCount, alignment) }
    }

    /// The same for an address of the monitor.
    public func place(ofUser address: UInt64, _ byteCount: Int, alignment: Int) -> Place? {
        for index in 0..<count {
            let offset = address &- regions[index].user
            if offset < regions[index].byteCount { return check(Place(region: index, offset: Int(offset)), byteCount, alignment) }
        }
        return nil
    }

    private func find(_ guestAddress: UInt64) -> Place? {
        for index in 0..<count {
            let offset = guestAddress &- regions[index].guest
            if offset < regions[index].byteCount { return Place(region: index, offset: Int(offset)) }
        }
        return nil
    }

    private func check(_ place: Place, _ byteCount: Int, _ alignment: Int) -> Place? {
        let region = regions[place.region]
        guard byteCount >= 0, region.byteCount &- place.offset >= byteCount, (region.base &+ UInt(place.offset)) % UInt(alignment) == 0 else { return nil }
        return place
    }

    /// The address of `byteCount` bytes here; nil where there are none any more.
    @inline(__always)
    private func address(_ place: Place, _ byteCount: Int) -> UnsafeMutableRawPointer? {
        guard place.region >= 0, place.region < count, place.offset >= 0, place.offset <= regions[place.region].byteCount &- byteCount else {
            return nil
        }
        // SAFETY: only a region that is mapped has addresses, and the bytes lie inside.
        return unsafe UnsafeMutableRawPointer(bitPattern: regions[place.region].base &+ UInt(place.offset))
    }

    // MARK: Numbers

    /// Two bytes, and whatever was written before them. Places of numbers must be aligned; of one that is not there any more, 0 is read.
    public func load16(_ place: Place) -> UInt16 {
        // SAFETY: `address` has checked the two bytes.
        guard let address = unsafe address(place, 2) else { return 0 }
        return unsafe linux_load16(address)
    }

    public func load64(_ place: Place) -> UInt64 {
        // SAFETY: `address` has checked the eight bytes.
        guard let address = unsafe address(place, 8) else { return 0 }
        return unsafe linux_load64(address)
    }

    /// Two bytes, after whatever was written before.
    public mutating func store16(_ value: UInt16, _ place: Place) {
        // SAFETY: `address` has checked the two bytes.
        guard let address = unsafe address(place, 2) else { return }
        unsafe linux_store16(address, value)
        note(place, 2)
    }

    public mutating func store32(_ value: UInt32, _ place: Place) {
        // SAFETY: `address` has checked the four bytes.
        guard let address = unsafe address(place, 4) else { return }
        unsafe linux_store32(address, value)
        note(place, 4)
    }

    /// What was stored before is seen by whoever stores something that is not seen behind it.
    public static func fence() { linux_fence() }

    // MARK: Data

    /// Copies from an address of the guest to `offset` of a mapping. False for a range that is not, or not all of it, in regions; one outside of the mapping
    /// traps.
    public func copy(_ byteCount: Int, from guestAddress: UInt64, to mapping: inout Mapping, at offset: Int) -> Bool {
        precondition(mapping.holds(byteCount, at: offset))
        var (done, source) = (0, guestAddress)
        while done < byteCount {
            guard let (place, length) = piece(source, byteCount &- done), let address = unsafe address(place, length) else { return false }
            // SAFETY: both ranges were just checked.
            unsafe memcpy(mapping.base + offset + done, address, length)
            done &+= length
            source = source &+ UInt64(length)
        }
        return true
    }

    /// The same from a mapping to the guest.
    public mutating func copy(_ byteCount: Int, from mapping: borrowing Mapping, at offset: Int, to guestAddress: UInt64) -> Bool {
        precondition(mapping.holds(byteCount, at: offset))
        var (done, target) = (0, guestAddress)
        while done < byteCount {
            guard let (place, length) = piece(target, byteCount &- done), let address = unsafe address(place, length) else { return false }
            // SAFETY: both ranges were just checked.
            unsafe memcpy(address, mapping.base + offset + done, length)
            note(target, length)
            done &+= length
            target = target &+ UInt64(length)
        }
        return true
    }

    /// As many of `byteCount` bytes as the region has in which `address` lies.
    private func piece(_ address: UInt64, _ byteCount: Int) -> (Place, Int)? {
        guard let place = find(address) else { return nil }
        return (place, min(byteCount, regions[place.region].byteCount &- place.offset))
    }
}

extension SystemCall {
    /// Taking in a machine's memory, and giving it back. Nothing that is mapped can be run.
    public static var guestMemory: [Permission] {
        [
            Permission(.mmap, Condition(2, [PROT_READ | PROT_WRITE]), Condition(3, [MAP_SHARED | MAP_NORESERVE])), Permission(.munmap),
            Permission(.newfstatat),
        ]
    }
}
