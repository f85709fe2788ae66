"""The operation of the doctor: its checks of the installation itself."""

from django.utils.translation import gettext_lazy as _

from kvops.doctor import database, delivery, files, installation, tokens, work
from kvops.operations import looks
from kvops.operations.parts import DoctorCheck, FeatureOperation

OPERATION = FeatureOperation(
    doctor=[
        DoctorCheck(installation.settings_fit),
        DoctorCheck(database.roles),
        DoctorCheck(database.migrations),
        DoctorCheck(installation.static_files),
        DoctorCheck(installation.translations),
        DoctorCheck(delivery.metrics),
        DoctorCheck(files.dump),
        DoctorCheck(files.closed),
        DoctorCheck(work.processes),
        DoctorCheck(delivery.heartbeat),
        DoctorCheck(work.people),
        DoctorCheck(delivery.mail, outside=True),
        DoctorCheck(delivery.slack, of_environment=True),
        DoctorCheck(tokens.separation, of_environment=True),
        DoctorCheck(tokens.budget, of_environment=True),
        DoctorCheck(tokens.read_token, of_environment=True, outside=True),
        DoctorCheck(tokens.write_token, of_environment=True, outside=True),
    ],
    states={
        "doctor_ok": looks.Look(_("ok"), *looks.GOOD),
        "doctor_wrong": looks.Look(_("wrong"), *looks.BAD),
        "doctor_unknown": looks.Look(_("not known"), *looks.CARE),
    },
)
