import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;

/** Turns a PEM bundle (first argument) into a PKCS#12 trust store (second). */
class Trust {
    public static void main(String[] args) throws Exception {
        var password = "changeit".toCharArray();
        var store = KeyStore.getInstance("PKCS12");
        store.load(null, password);
        try (var bundle = new FileInputStream(args[0])) {
            var number = 0;
            for (var authority : CertificateFactory.getInstance("X.509").generateCertificates(bundle)) {
                store.setCertificateEntry("authority-" + number++, authority);
            }
        }
        try (var out = new FileOutputStream(args[1])) {
            store.store(out, password);
        }
    }
}
