internal import CLinux

/// Memory from the kernel: zeroed, page-aligned, and free until it is first touched.
@safe
public struct Mapping: ~Copyable {
    // SAFETY: `base` is the start of `byteCount` mapped bytes from `init` to `deinit`, and only this value holds it.
    @usableFromInline let base: UnsafeMutableRawPointer
    public let byteCount: Int
    /// The same memory as a file, where it can be lent (`LentMemory`).
    let file: Descriptor

    /// Maps at least one byte. Throws ENOMEM where the kernel has none left.
    public init(byteCount: Int) throws(Errno) {
        let size = max(byteCount, 1)
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let address = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let address = unsafe address, unsafe linux_mmap_failed(address) == 0 else { throw Errno(linux_errno()) }
        unsafe self.init(base: address, byteCount: size, file: .none)
    }

    /// Takes over memory that was mapped for it, and its file.
    init(base: UnsafeMutableRawPointer, byteCount: Int, file: Descriptor) {
        // SAFETY: the callers have mapped so many bytes there, and keep no pointer.
        unsafe self.base = base
        self.byteCount = byteCount
        self.file = file
    }

    deinit {
        // SAFETY: mapped in `init` with this very size.
        unsafe munmap(base, byteCount)
        if file.isOpen { file.close() }
    }

    /// All bytes, for reading.
    @inlinable
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // SAFETY: the mapping outlives the borrow that the span depends on.
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// All bytes, for writing.
    @inlinable
    public var mutableBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // SAFETY: as above, and exclusive access to `self` makes the span exclusive.
            let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Whether `count` bytes at `offset` lie inside, whatever the two numbers are.
    @inlinable
    public func holds(_ count: Int, at offset: Int) -> Bool { offset >= 0 && count >= 0 && offset <= byteCount && byteCount - offset >= count }

    /// Moves `count` bytes within the mapping; the two ranges may overlap. A range outside of it traps.
    public mutating func move(from source: Int, to destination: Int, count: Int) {
        precondition(holds(count, at: source) && holds(count, at: destination))
        // SAFETY: both ranges were just checked, and access is exclusive.
        unsafe (base + destination).copyMemory(from: base + source, byteCount: count)
    }
}

/// A fixed number of elements in a mapping. Zeroed memory must be a valid `Element`; untouched pages cost nothing.
@safe
public struct FixedTable<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline let mapping: Mapping
    public let count: Int

    /// Throws ENOMEM where the kernel has no memory left.
    public init(count: Int) throws(Errno) {
        self.count = count
        mapping = try Mapping(byteCount: count * MemoryLayout<Element>.stride)
    }

    var start: UnsafeMutableRawPointer { unsafe mapping.base }

    /// An index outside of the table is a bug of the caller and traps.
    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < count)
            // SAFETY: the index is inside the mapping, which is page-aligned and as long as `count` strides.
            return unsafe UnsafePointer(mapping.base.assumingMemoryBound(to: Element.self) + index)
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < count)
            // SAFETY: as above; access is exclusive because the table is.
            return unsafe mapping.base.assumingMemoryBound(to: Element.self) + index
        }
    }
}
