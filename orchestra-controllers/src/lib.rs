//! orchestra-controllers
