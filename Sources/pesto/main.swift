import Linux
import PortClient

Process.exit(Pesto.run(CommandLine.arguments))
