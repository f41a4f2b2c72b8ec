//! orchestra-apiserver
