version 1.0
task one { command {} }
task two { command {} }
