//! The runtimes, and which file sizes which.

use super::sizer::Sizer;
use super::{allocators, dotnet, erlang, go, jvm, node, postgres, workers};

/// What decides how much memory a program takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// HotSpot and OpenJ9.
    Jvm,
    /// Programs made by the Go linker.
    Go,
    /// Node.js.
    Node,
    /// .NET (Core).
    Dotnet,
    /// CPython and PyPy, and servers of workers in it.
    Python,
    /// CRuby, and servers of workers in it.
    Ruby,
    /// PHP's server of workers.
    PhpFpm,
    /// Erlang and Elixir.
    Erlang,
    /// jemalloc, preloaded or linked.
    Jemalloc,
    /// tcmalloc of gperftools, preloaded or linked.
    Tcmalloc,
    /// The malloc of the GNU C library.
    Glibc,
    /// The PostgreSQL server.
    Postgres,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Runtime; 12] = [
        Runtime::Jvm,
        Runtime::Go,
        Runtime::Node,
        Runtime::Dotnet,
        Runtime::Python,
        Runtime::Ruby,
        Runtime::PhpFpm,
        Runtime::Erlang,
        Runtime::Jemalloc,
        Runtime::Tcmalloc,
        Runtime::Glibc,
        Runtime::Postgres,
    ];

    /// Those whose variables harm no other program, and may be set where it is not known what will run: all that are
    /// sized by a variable, except .NET, whose variable would override a configuration file that can't be looked into.
    pub const HARMLESS: [Runtime; 7] = [
        Runtime::Jvm,
        Runtime::Go,
        Runtime::Node,
        Runtime::Erlang,
        Runtime::Jemalloc,
        Runtime::Tcmalloc,
        Runtime::Glibc,
    ];

    /// Its name on command lines and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Runtime::Jvm => "jvm",
            Runtime::Go => "go",
            Runtime::Node => "node",
            Runtime::Dotnet => "dotnet",
            Runtime::Python => "python",
            Runtime::Ruby => "ruby",
            Runtime::PhpFpm => "php-fpm",
            Runtime::Erlang => "erlang",
            Runtime::Jemalloc => "jemalloc",
            Runtime::Tcmalloc => "tcmalloc",
            Runtime::Glibc => "glibc",
            Runtime::Postgres => "postgres",
        }
    }

    pub(super) fn size(self, sizer: &mut Sizer<'_>) {
        match self {
            Runtime::Jvm => jvm::size(sizer),
            Runtime::Go => go::size(sizer),
            Runtime::Node => node::size(sizer),
            Runtime::Dotnet => dotnet::size(sizer),
            Runtime::Python | Runtime::Ruby => workers::size_server(self, sizer),
            Runtime::PhpFpm => workers::size_php_fpm(sizer),
            Runtime::Erlang => erlang::size(sizer),
            Runtime::Jemalloc => allocators::size_jemalloc(sizer),
            Runtime::Tcmalloc => allocators::size_tcmalloc(sizer),
            Runtime::Glibc => allocators::size_glibc(self, sizer),
            Runtime::Postgres => postgres::size(sizer),
        }
    }
}
