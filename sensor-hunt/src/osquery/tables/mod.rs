//! The tables, a file for each kind of thing.

mod accounts;
mod cron;
mod docker;
mod file;
mod hash;
mod kernel;
mod logins;
mod packages;
mod platform;
mod processes;
pub(super) mod sockets;
mod ssh;
mod startup;
mod sudo;
mod system;
mod systemd;
mod text;

use super::table::Table;

/// Every table.
pub(super) static ALL: &[Table] = &[
    file::FILE,
    hash::HASH,
    accounts::USERS,
    accounts::GROUPS,
    accounts::USER_GROUPS,
    accounts::SHADOW,
    processes::PROCESSES,
    processes::PROCESS_ENVS,
    processes::PROCESS_OPEN_FILES,
    sockets::PROCESS_OPEN_SOCKETS,
    sockets::LISTENING_PORTS,
    cron::CRONTAB,
    startup::STARTUP_ITEMS,
    systemd::SYSTEMD_UNITS,
    kernel::KERNEL_INFO,
    kernel::KERNEL_MODULES,
    kernel::KERNEL_KEYS,
    platform::SECUREBOOT,
    platform::PLATFORM_INFO,
    ssh::AUTHORIZED_KEYS,
    ssh::USER_SSH_KEYS,
    ssh::SSH_CONFIGS,
    ssh::KNOWN_HOSTS,
    ssh::SHELL_HISTORY,
    sudo::SUDOERS,
    sudo::SUID_BIN,
    logins::LOGGED_IN_USERS,
    logins::LAST,
    packages::APT_SOURCES,
    packages::YUM_SOURCES,
    packages::DEB_PACKAGES,
    docker::DOCKER_CONTAINERS,
    docker::DOCKER_IMAGES,
    docker::DOCKER_CONTAINER_MOUNTS,
    system::OS_VERSION,
    system::SYSTEM_INFO,
    system::MOUNTS,
    system::ETC_HOSTS,
    system::UPTIME,
];
