//! Making certificates. Pure but for the keys, which are random.

use std::net::IpAddr;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::files::Kept;

/// How long the authority is valid, as kubeadm has it.
const AUTHORITY_YEARS: i64 = 10;
/// How long other certificates are valid.
const YEARS: i64 = 1;
/// A certificate with less time left is made anew.
const RENEW_DAYS: i64 = 30;
/// The names under which programs in a cluster know the API server.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// A new authority.
pub(super) fn authority(name: &str, now: Timestamp) -> Result<Kept, Error> {
    let mut params = params(name, &[], now, AUTHORITY_YEARS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Kept { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate for a client: its name becomes the user, its organisations the groups.
pub(super) fn client(
    issuer: &Issuer<'_, KeyPair>,
    user: &str,
    groups: &[&str],
    now: Timestamp,
) -> Result<Kept, Error> {
    let mut params = params(user, groups, now, YEARS)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(params, issuer)
}

/// A certificate for the API server.
pub(super) fn server(
    issuer: &Issuer<'_, KeyPair>,
    addresses: &[IpAddr],
    now: Timestamp,
) -> Result<Kept, Error> {
    let mut params = params("kube-apiserver", &[], now, YEARS)?;
    for name in NAMES {
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    let loopback = [IpAddr::from([127, 0, 0, 1])];
    params
        .subject_alt_names
        .extend(loopback.iter().chain(addresses).map(|address| SanType::IpAddress(*address)));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(params, issuer)
}

/// Whether a certificate has so little time left that it should be made anew; also when it cannot be read.
pub(super) fn expires_soon(pem: &str, now: Timestamp) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else { return true };
    let Ok(certificate) = pem.parse_x509() else { return true };
    let end = certificate.validity().not_after.timestamp();
    end - now.as_second() < RENEW_DAYS * 24 * 60 * 60
}

fn sign(mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<Kept, Error> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Kept { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(
    name: &str,
    organizations: &[&str],
    now: Timestamp,
    years: i64,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    // A day of grace for clocks that are behind.
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(today.saturating_sub(1.days()));
    params.not_after = day(today.saturating_add(years.years()));
    Ok(params)
}
