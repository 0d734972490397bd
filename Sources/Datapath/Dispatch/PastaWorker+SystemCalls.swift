public import Linux

extension PastaWorker {
    public static var systemCalls: [SystemCall.Permission] {
        SystemCall.readiness + SystemCall.files + SystemCall.pieces + SystemCall.batches + SystemCall.sockets + SystemCall.streams
            + SystemCall.datagramOptions + SystemCall.errorQueue + SystemCall.clock
    }

    /// What it calls in addition with forwarded ports.
    public static var listenerCalls: [SystemCall.Permission] { SystemCall.accepting + SystemCall.splicing }

    /// What it calls in addition with a capture file.
    public static var captureCalls: [SystemCall.Permission] { SystemCall.filePieces }
}
