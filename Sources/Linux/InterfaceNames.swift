internal import CLinux

/// Network interfaces by name.
public enum InterfaceNames {
    /// nil where there is none of that name in this namespace. (socket, ioctl)
    public static func index(of name: String) -> Int32? {
        // SAFETY: the string lives as long as the call.
        let index = unsafe if_nametoindex(name)
        return index == 0 ? nil : Int32(truncatingIfNeeded: index)
    }
}
