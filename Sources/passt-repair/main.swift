import Linux
import RepairHelper

Process.exit(PasstRepair.run(CommandLine.arguments))
