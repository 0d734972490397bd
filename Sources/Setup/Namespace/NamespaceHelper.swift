internal import CLinux
internal import Linux

/// A process in the guest's namespace that works for us. It holds everything that was open at the fork and knows what was known
/// then. It ends when its work is done or when this side closes the channel.
public enum NamespaceHelper {
    /// Starts a helper beside us. What it sends comes in order; an error that `body` throws is thrown by `receive` at our end of the channel.
    public static func start(
        in target: TargetNamespace, _ body: (HelperChannel) throws(SetupError) -> Void
    ) throws(SetupError) -> RunningHelper {
        let ours: Descriptor
        let theirs: Descriptor
        let child: Int32
        do throws(Errno) {
            (ours, theirs) = try DescriptorPassing.pair()
            child = try Process.fork()
        } catch {
            throw SetupError(.namespace, "Couldn't start a helper for the namespace", error, hint: error.hintOfFork)
        }
        if child == 0 {
            ours.close()
            work(HelperChannel(socket: theirs), in: target, body)
        }
        theirs.close()
        return RunningHelper(processID: child, channel: HelperChannel(socket: ours, to: child))
    }

    /// The helper's whole life. It ends without running anything registered to run at exit.
    private static func work(
        _ channel: HelperChannel, in target: TargetNamespace, _ body: (HelperChannel) throws(SetupError) -> Void
    ) -> Never {
        do throws(SetupError) {
            try enter(target)
            try body(channel)
            try channel.finish()
        } catch {
            channel.fail(error)
            Process.exit(1)
        }
        Process.exit(0)
    }

    /// For good: there is no way back from a user namespace.
    private static func enter(_ target: TargetNamespace) throws(SetupError) {
        do throws(Errno) {
            if let user = target.user { try Namespaces.enter(user, .user) }
        } catch {
            throw SetupError(.namespace, "Couldn't enter user namespace", error, hint: error.code == EPERM ? "only the user who made it may" : nil)
        }
        do throws(Errno) {
            try Namespaces.enter(target.network, .network)
        } catch {
            throw SetupError(.namespace, "Couldn't enter network namespace", error, hint: error.code == EPERM ? hint(target) : nil)
        }
    }

    /// Rights over a network namespace are those over the user namespace in which it was made. --userns is advised only where it was not given. It excludes
    /// --netns-only: without that, the user namespace of a process is taken by itself, while that of a file must be named.
    static func hint(_ target: TargetNamespace) -> String {
        let instead = target.isNetworkOnly ? " instead of --netns-only" : ""
        if case .file(let path) = target.origin, path.hasPrefix("/run/netns/") || path.hasPrefix("/var/run/netns/") {
            let made = "if root made it ('ip netns add'), this takes root's rights"
            if target.user != nil { return made + " and no --userns" }
            return target.isUserNamed ? made : made + ", else name its user namespace with --userns\(instead)"
        }
        if target.user != nil { return "it belongs to another user namespace than this one" }
        if target.isUserNamed { return "it belongs to another user namespace than the one that --userns names, which pasta is in already" }
        // The process is in our user namespace, and its network is from elsewhere.
        if case .process = target.origin {
            let rights = "this takes root's rights, or those over the user namespace in which it was made"
            return target.isNetworkOnly ? rights + ": leave out --netns-only if the process has a user namespace of its own" : rights
        }
        return "name the user namespace that it belongs to with --userns\(instead)"
    }
}

/// A helper seen from outside.
public struct RunningHelper: Sendable {
    public let processID: Int32
    public let channel: HelperChannel

    /// Closes the channel and waits for the helper.
    public func end() {
        channel.socket.close()
        _ = try? Process.wait(for: processID)
    }
}
