//! Records to events: the process table and the facts of host, accounts and containers.
