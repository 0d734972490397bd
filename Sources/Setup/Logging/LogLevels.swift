// One pair of functions per level. A literal, with or without numbers behind it, takes the first and costs nothing;
// an interpolated string takes the second, which is made only if somebody reads it.
extension Log {
    /// What ends the run, or would.
    public func error(_ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = "") {
        write(.error, text, first, second, number, third)
    }

    @_disfavoredOverload
    public func error(_ text: @autoclosure () -> String) {
        if isEnabled(.error) { write(.error, text: text()) }
    }

    /// What the user should know of.
    public func warning(_ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = "") {
        write(.warning, text, first, second, number, third)
    }

    @_disfavoredOverload
    public func warning(_ text: @autoclosure () -> String) {
        if isEnabled(.warning) { write(.warning, text: text()) }
    }

    /// What the user may want to know; silenced by --quiet.
    public func info(_ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = "") {
        write(.info, text, first, second, number, third)
    }

    @_disfavoredOverload
    public func info(_ text: @autoclosure () -> String) {
        if isEnabled(.info) { write(.info, text: text()) }
    }

    /// Shown with --debug.
    public func debug(_ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = "") {
        write(.debug, text, first, second, number, third)
    }

    @_disfavoredOverload
    public func debug(_ text: @autoclosure () -> String) {
        if isEnabled(.debug) { write(.debug, text: text()) }
    }

    /// Shown with --trace.
    public func trace(_ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = "") {
        write(.trace, text, first, second, number, third)
    }

    @_disfavoredOverload
    public func trace(_ text: @autoclosure () -> String) {
        if isEnabled(.trace) { write(.trace, text: text()) }
    }
}
