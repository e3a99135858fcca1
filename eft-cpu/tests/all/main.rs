//! All tests of this crate in one program. They use its public interface, so that its kernels, which are compiled for
//! several sets of instructions, need not be compiled a second time.
mod attention;
mod caches;
mod gate;
mod instructions;
mod products;
mod tables;
mod threads;
