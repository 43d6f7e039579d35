//! Tests the command `lazaretto`: what it prints, what it ends with, and what it leaves on the disk.

#[path = "../home/mod.rs"]
mod home;

mod basics;
mod doctor;
mod elsewhere;
mod formats;
mod layout;
mod login;
mod manual;
mod next_step;
mod pages;
mod pasted;
mod providers;
mod stored;
mod sweep;
mod timer;
mod vaults;
mod waiting;
mod watch;
