//! The tables, a file for each kind of thing.

mod accounts;
mod attributes;
mod cron;
mod docker;
mod docker_engine;
mod docker_more;
mod file;
mod hash;
mod kernel;
mod logins;
mod maps;
mod network;
mod packages;
mod platform;
mod private_key;
mod processes;
mod rpm;
mod settings;
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
    attributes::EXTENDED_ATTRIBUTES,
    accounts::USERS,
    accounts::GROUPS,
    accounts::USER_GROUPS,
    accounts::SHADOW,
    processes::PROCESSES,
    processes::PROCESS_ENVS,
    processes::PROCESS_OPEN_FILES,
    maps::PROCESS_MEMORY_MAP,
    maps::PROCESS_NAMESPACES,
    maps::PROCESS_OPEN_PIPES,
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
    rpm::RPM_PACKAGES,
    rpm::RPM_PACKAGE_FILES,
    docker::DOCKER_CONTAINERS,
    docker::DOCKER_IMAGES,
    docker::DOCKER_CONTAINER_MOUNTS,
    docker_more::CONTAINER_ENVS,
    docker_more::CONTAINER_FS_CHANGES,
    docker_more::CONTAINER_LABELS,
    docker_more::CONTAINER_NETWORKS,
    docker_more::CONTAINER_PORTS,
    docker_more::IMAGE_HISTORY,
    docker_more::IMAGE_LABELS,
    docker_more::IMAGE_LAYERS,
    docker_more::DOCKER_NETWORKS,
    docker_more::NETWORK_LABELS,
    docker_engine::DOCKER_INFO,
    docker_engine::DOCKER_VERSION,
    docker_engine::CONTAINER_PROCESSES,
    docker_engine::CONTAINER_STATS,
    docker_more::DOCKER_VOLUMES,
    docker_more::VOLUME_LABELS,
    system::OS_VERSION,
    system::SYSTEM_INFO,
    system::MOUNTS,
    system::ETC_HOSTS,
    system::UPTIME,
    settings::SYSTEM_CONTROLS,
    settings::MEMORY_INFO,
    settings::LOAD_AVERAGE,
    settings::SELINUX_SETTINGS,
    settings::APPARMOR_PROFILES,
    settings::TIME,
    network::INTERFACE_ADDRESSES,
    network::INTERFACE_DETAILS,
    network::ROUTES,
    network::ARP_CACHE,
    network::DNS_RESOLVERS,
    network::ETC_SERVICES,
    network::ETC_PROTOCOLS,
];

/// osquery's tables of what it recorded itself.
pub(super) const EVENTS: &[&str] = &[
    "apparmor_events",
    "bpf_process_events",
    "bpf_socket_events",
    "file_events",
    "hardware_events",
    "process_events",
    "process_file_events",
    "seccomp_events",
    "selinux_events",
    "socket_events",
    "syslog_events",
    "user_events",
    "yara_events",
];

/// osquery's other tables for Linux, which are not made here.
pub(super) const MISSING: &[&str] = &[
    "acpi_tables",
    "augeas",
    "azure_instance_metadata",
    "azure_instance_tags",
    "block_devices",
    "carbon_black_info",
    "carves",
    "certificates",
    "chrome_extension_content_scripts",
    "chrome_extensions",
    "cpu_info",
    "cpu_time",
    "cpuid",
    "curl",
    "curl_certificate",
    "deb_package_files",
    "device_file",
    "device_hash",
    "device_partitions",
    "disk_encryption",
    "ec2_instance_metadata",
    "ec2_instance_tags",
    "elf_dynamic",
    "elf_info",
    "elf_sections",
    "elf_segments",
    "elf_symbols",
    "firefox_addons",
    "intel_me_info",
    "interface_ipv6",
    "iptables",
    "lxd_certificates",
    "lxd_cluster",
    "lxd_cluster_members",
    "lxd_images",
    "lxd_instance_config",
    "lxd_instance_devices",
    "lxd_instances",
    "lxd_networks",
    "lxd_storage_pools",
    "magic",
    "md_devices",
    "md_drives",
    "md_personalities",
    "memory_array_mapped_addresses",
    "memory_arrays",
    "memory_device_mapped_addresses",
    "memory_devices",
    "memory_error_info",
    "memory_map",
    "msr",
    "npm_packages",
    "oem_strings",
    "osquery_events",
    "osquery_extensions",
    "osquery_flags",
    "osquery_info",
    "osquery_packs",
    "osquery_registry",
    "osquery_schedule",
    "pci_devices",
    "portage_keywords",
    "portage_packages",
    "portage_use",
    "prometheus_metrics",
    "python_packages",
    "shared_memory",
    "smbios_tables",
    "ulimit_info",
    "usb_devices",
    "vscode_extensions",
    "yara",
];
