DROP TABLE _bemi.accepted;
DROP TABLE _bemi.verified;
DROP TABLE _bemi.verifications;
